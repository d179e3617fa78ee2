//! Every operation against its reference, on the CPU and on a GPU: the output and all gradients,
//! over shapes that bite.
//!
//! The oracle is the reference in float64. The operation may be wrong by twice what the reference
//! is in float32 on the same device (on CUDA four times), and by a few roundings where that happens to be exact.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::device;

pub(crate) const FEW_ROUNDINGS: f64 = 8.0 * f32::EPSILON as f64;

/// The flattened inputs of an operation, as leaves, to its flattened output.
pub(crate) type Operation<'a> = &'a dyn Fn(&[Tensor<1>]) -> Tensor<1>;

/// Compares `fused` with `reference` on inputs of the given sizes.
pub(crate) fn check(
    name: &str,
    sizes: &[usize],
    spread: f64,
    fused: Operation,
    reference: Operation,
) {
    let inputs: Vec<Vec<f64>> = sizes
        .iter()
        .enumerate()
        .map(|(i, &size)| random(size, 7 + i as u64).map(|v| v * spread).collect())
        .collect();
    let exact = run(reference, &inputs, (&Device::flex(), DType::F64));
    // A part that cancels to nothing is held to the roundings of the largest.
    let largest = exact.iter().map(|part| norm(part)).fold(0.0, f64::max);
    for (device_name, device) in device::for_tests() {
        let got = run(fused, &inputs, (&device, DType::F32));
        let plain = run(reference, &inputs, (&device, DType::F32));
        for (part, ((got, plain), exact)) in got.iter().zip(&plain).zip(&exact).enumerate() {
            let part = match part {
                0 => "output".to_owned(),
                n => format!("gradient of input {n}"),
            };
            assert_near(
                &format!("{name} on {device_name}: {part}"),
                device_name,
                [got, plain, exact],
                largest,
            );
        }
        let again = run(fused, &inputs, (&device, DType::F32));
        assert_eq!(
            got, again,
            "{name} on {device_name}: the same inputs give the same bits"
        );
    }
}

/// Asserts that `got` is off by no more than the plain operations in float32 allow it, or by a few
/// roundings of a number as large as `size`.
pub(crate) fn assert_near(
    what: &str,
    device_name: &str,
    [got, plain, exact]: [&[f64]; 3],
    size: f64,
) {
    // On CUDA products round their inputs to ten bits (TF32): few and large errors.
    let factor = if device_name.starts_with("cuda") {
        4.0
    } else {
        2.0
    };
    let bound = factor * distance(plain, exact) + FEW_ROUNDINGS * size;
    let error = distance(got, exact);
    assert!(
        error <= bound,
        "{what} is off by {error:.3e}, bound {bound:.3e}"
    );
}

/// Compares `fused` with `reference` where the device computes in bfloat16, on inputs that bfloat16
/// holds. Whatever is rounded on the way (the weights, the gradients of the scores, what comes
/// out) is off by half a unit, 2⁻⁹ of its size; four such roundings may meet in one number.
pub(crate) fn check_bfloat16(
    name: &str,
    sizes: &[usize],
    spread: f64,
    fused: Operation,
    reference: Operation,
) {
    let held = |value: f64| burn::tensor::bf16::from_f64(value).to_f64();
    let inputs: Vec<Vec<f64>> = sizes
        .iter()
        .enumerate()
        .map(|(i, &size)| {
            random(size, 7 + i as u64)
                .map(|v| held(v * spread))
                .collect()
        })
        .collect();
    let exact = run(reference, &inputs, (&Device::flex(), DType::F64));
    for (device_name, device) in device::for_tests() {
        if !device_name.starts_with("cuda") {
            continue;
        }
        let got = run(fused, &inputs, (&device, DType::BF16));
        for (part, (got, exact)) in got.iter().zip(&exact).enumerate() {
            let bound = 4.0 * norm(exact) / 512.0 + FEW_ROUNDINGS;
            let error = distance(got, exact);
            assert!(
                error <= bound,
                "{name} on {device_name}: part {part} is off by {error:.3e}, bound {bound:.3e}"
            );
        }
        let again = run(fused, &inputs, (&device, DType::BF16));
        assert_eq!(
            got, again,
            "{name} on {device_name}: the same inputs give the same bits"
        );
    }
}

/// The output, then the gradient of each input of Σ weight · output.
fn run(operation: Operation, inputs: &[Vec<f64>], on: (&Device, DType)) -> Vec<Vec<f64>> {
    let device = on.0.clone().autodiff();
    let tensor = |values: &[f64]| {
        let data = TensorData::new(values.to_vec(), [values.len()]);
        Tensor::<1>::from_data(data, (&device, on.1))
    };
    let leaves: Vec<Tensor<1>> = inputs.iter().map(|v| tensor(v).require_grad()).collect();
    let output = operation(&leaves);
    let [size] = output.dims();
    // Numbers that bfloat16 holds as well.
    let weights: Vec<f64> = random(size, 99)
        .map(|v| (v * 64.0).round() / 64.0)
        .collect();
    let mut gradients = (output.clone() * tensor(&weights)).sum().backward();
    let mut parts = vec![host(output.inner())];
    parts.extend(leaves.into_iter().map(|leaf| {
        let gradient = leaf.grad_remove(&mut gradients);
        host(gradient.expect("every input has a gradient"))
    }));
    parts
}

pub(crate) fn host(tensor: Tensor<1>) -> Vec<f64> {
    let data = tensor.into_data().convert::<f64>();
    data.try_to_vec().expect("float64")
}

/// Values in float32 on a device.
pub(crate) fn float32<const D: usize>(
    values: &[f64],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), shape),
        (device, DType::F32),
    )
}

/// Where values are NaN.
pub(crate) fn nans(values: &[f64]) -> Vec<usize> {
    let values = values.iter().enumerate();
    values
        .filter(|(_, value)| value.is_nan())
        .map(|(at, _)| at)
        .collect()
}

/// The products of rows by rows of a weight, and those of their magnitudes: a sum of `width` terms
/// in float32 is off by no more than `width` half units of the latter.
pub(crate) fn products(x: &[f64], weight: &[f64], width: usize) -> (Vec<f64>, Vec<f64>) {
    let pairs = x
        .chunks(width)
        .flat_map(|x| weight.chunks(width).map(move |w| (x, w)));
    pairs
        .map(|(x, w)| {
            let terms = x.iter().zip(w).map(|(x, w)| x * w);
            (terms.clone().sum::<f64>(), terms.map(f64::abs).sum::<f64>())
        })
        .unzip()
}

pub(crate) fn random(size: usize, seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed;
    (0..size).map(move |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 30) as f64 - 1.0
    })
}

pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

pub(crate) fn norm(a: &[f64]) -> f64 {
    a.iter().map(|a| a * a).sum::<f64>().sqrt()
}

/// CubeCL refuses a kernel that asks for more shared memory than its device has, and what it would
/// have written cannot be read. So each test that launches the widest form of a kernel here holds it
/// to WebGPU's baseline: `attention_of_the_widest_heads_is_its_reference` and
/// `the_widest_heads_of_decode_attention_are_their_reference`; other kernels have one form.
#[cfg(feature = "wgpu")]
#[test]
fn the_software_gpu_has_no_more_than_32_kib_of_shared_memory() {
    use burn::backend::DispatchDevice;
    use cubecl::device::WgpuDeviceKind;

    for (device_name, device) in device::for_tests() {
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            continue;
        };
        let cubecl::Device::Wgpu(wgpu) = device else {
            continue;
        };
        if matches!(wgpu.kind, WgpuDeviceKind::Cpu) {
            let client = device.client();
            let bytes = client.properties().hardware.max_shared_memory_size;
            assert!(bytes <= 32 << 10, "{bytes} bytes on {device_name}");
        }
    }
}
