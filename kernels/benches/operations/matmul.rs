//! cubek's kernels for products in bfloat16, at the sizes of Gemma 2 2B: which of them `kernels` should
//! call on a GPU is to be measured there. burn's own choice, without autotune, is the first row.

use std::time::Instant;

use burn::tensor::{DType, Shape, bf16};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::{Device, client::Client};
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy as MultiLevel;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

use crate::cases::numbers;

/// Which of a product's factors lie transposed in memory.
type Transposed = [bool; 2];

/// The products of a linear layer of 8,192 tokens, as rows, terms and columns.
const PRODUCTS: [(&str, [usize; 3], Transposed); 4] = [
    ("8192³", [8192, 8192, 8192], [false, false]),
    ("x·Wᵀ", [8192, 2304, 9216], [false, true]),
    ("g·W", [8192, 9216, 2304], [false, false]),
    ("gᵀ·x", [9216, 8192, 2304], [true, false]),
];
/// By how much each of them is smaller in a quick run.
const QUICK: usize = 64;
const RUNS: usize = 9;

fn strategies() -> Vec<Strategy> {
    macro_rules! with_defaults {
        ($($name:ident)*) => {
            vec![$(MultiLevel::$name(Default::default())),*]
        };
    }
    let named = with_defaults!(
        SimpleCyclicCmma SimpleCyclicMma SimpleTmaMma DoubleCyclicCmma DoubleCyclicMma
        DoubleTmaCmma DoubleTmaMma DoubleAsyncCyclicMma OrderedDoubleCmma OrderedDoubleMma
        SpecializedCyclicMma SpecializedTmaCmma SpecializedTmaMma
    );
    let named = named.into_iter().map(Strategy::MultiLevel);
    std::iter::once(Strategy::Auto).chain(named).collect()
}

/// Prints a row of TFLOP/s for each strategy: `–` where it does not take these matrices here, `wrong`
/// where what it gives is not the product.
pub fn run(device: &Device, quick: bool) {
    let client = device.client();
    let products: Vec<Product> = PRODUCTS
        .iter()
        .map(|&(_, sizes, transposed)| {
            let sizes = sizes.map(|size| if quick { size / QUICK } else { size });
            Product::new(&client, device, sizes, transposed)
        })
        .collect();
    print!("\n{:<44}", "bfloat16 products, TFLOP/s");
    PRODUCTS.iter().for_each(|(name, ..)| print!("{name:>11}"));
    println!();
    for strategy in strategies() {
        let name = strategy.to_string();
        print!("{:<44}", name.chars().take(43).collect::<String>());
        for product in &products {
            print!("{:>11}", product.measured(&strategy));
        }
        println!();
    }
}

struct Product {
    client: Client,
    sizes: [usize; 3],
    transposed: Transposed,
    /// The factors as they lie in memory.
    factors: [CubeTensor; 2],
    values: [Vec<bf16>; 2],
}

impl Product {
    fn new(
        client: &Client,
        device: &Device,
        sizes @ [m, k, n]: [usize; 3],
        transposed: Transposed,
    ) -> Self {
        let values = [(m * k, 1), (k * n, 2)]
            .map(|(count, seed)| numbers(count, seed).map(bf16::from_f32).collect::<Vec<_>>());
        let lying = |shape: [usize; 2], transposed: bool| match transposed {
            true => [shape[1], shape[0]],
            false => shape,
        };
        let factors = [
            tensor(client, device, &values[0], lying([m, k], transposed[0])),
            tensor(client, device, &values[1], lying([k, n], transposed[1])),
        ];
        Product {
            client: client.clone(),
            sizes,
            transposed,
            factors,
            values,
        }
    }

    fn launch(&self, strategy: &Strategy, out: &CubeTensor) -> Result<(), String> {
        let element: ElemType = bf16::elem_type_native();
        let [a, b] = [0, 1].map(|factor| {
            let mut binding = self.factors[factor].clone().binding();
            if self.transposed[factor] {
                binding.shape.swap(0, 1);
                binding.strides.swap(0, 1);
            }
            InputBinding::new(binding, element)
        });
        let out = out.clone().binding();
        let mut types = MatmulElems::from_globals(&MatmulGlobalElems {
            lhs: element,
            rhs: element,
            out: element,
        });
        launch_ref(strategy, &self.client, a, b, out, &mut types)
            .map_err(|error| format!("{error:?}"))
    }

    fn measured(&self, strategy: &Strategy) -> String {
        let [m, _, n] = self.sizes;
        let device = &self.factors[0].device;
        let out = tensor(&self.client, device, &vec![bf16::NAN; m * n], [m, n]);
        // Some strategies panic at matrices that they do not take.
        let launched = std::panic::AssertUnwindSafe(|| {
            self.launch(strategy, &out)?;
            self.wait()
        });
        if !matches!(std::panic::catch_unwind(launched), Ok(Ok(()))) {
            return "–".to_owned();
        }
        if !self.is_right(&out) {
            return "wrong".to_owned();
        }
        let mut times: Vec<f64> = (0..RUNS)
            .map(|_| {
                let began = Instant::now();
                let done = self.launch(strategy, &out).and_then(|()| self.wait());
                done.expect("it went well before");
                began.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let flop = 2.0 * self.sizes.iter().map(|&size| size as f64).product::<f64>();
        format!("{:.1}", flop / times[RUNS / 2] / 1e12)
    }

    fn wait(&self) -> Result<(), String> {
        let done = cubecl::future::block_on(self.client.sync());
        done.map_err(|error| format!("{error:?}"))
    }

    /// Whether some of the numbers, from all over, are what float64 gives.
    fn is_right(&self, out: &CubeTensor) -> bool {
        let [m, k, n] = self.sizes;
        let bytes = self.client.read_one(out.handle.clone());
        let Ok(bytes) = bytes else { return false };
        let got = bf16::from_bytes(&bytes);
        let at = |factor: usize, [row, column]: [usize; 2], [rows, columns]: [usize; 2]| {
            let index = match self.transposed[factor] {
                true => column * rows + row,
                false => row * columns + column,
            };
            self.values[factor][index].to_f64()
        };
        (0..64).all(|i| {
            let [row, column] = [i * 2_654_435_761 % m, i * 40_503 % n];
            let terms = (0..k).map(|j| at(0, [row, j], [m, k]) * at(1, [j, column], [k, n]));
            let want: f64 = terms.sum();
            // Half a unit of bfloat16, and what float32 rounds on the way.
            let bound = want.abs() / 256.0 + 1e-3 * (k as f64).sqrt();
            (got[row * n + column].to_f64() - want).abs() <= bound
        })
    }
}

fn tensor(client: &Client, device: &Device, values: &[bf16], shape: [usize; 2]) -> CubeTensor {
    let handle = client.create_from_slice(bf16::as_bytes(values));
    let shape = Shape::from(shape);
    CubeTensor::new_contiguous(client.clone(), device.clone(), shape, handle, DType::BF16)
}
