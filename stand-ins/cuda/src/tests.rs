//! Small kernels on the whole: translated, compiled, loaded and launched.

use std::ffi::{CString, c_int, c_void};
use std::ptr;

use crate::{driver, nvrtc};

/// Runs a kernel named `kernel` on buffers of words.
fn launch(
    source: &str,
    (blocks, threads): (u32, u32),
    shared_bytes: u32,
    buffers: &mut [Vec<u32>],
) {
    let source = CString::new(source).expect("no zero in it");
    let mut pointers: Vec<*mut u32> = buffers.iter_mut().map(|b| b.as_mut_ptr()).collect();
    let arguments = pointers
        .iter_mut()
        .map(|p| ptr::from_mut(p).cast::<c_void>());
    let mut arguments: Vec<*mut c_void> = arguments.collect();
    // SAFETY: as cubecl calls them.
    unsafe {
        let mut program = ptr::null_mut();
        let (mut module, mut function) = (ptr::null_mut(), ptr::null_mut());
        let none = ptr::null();
        let made = nvrtc::nvrtcCreateProgram(
            &raw mut program,
            source.as_ptr(),
            none,
            0,
            ptr::null(),
            ptr::null(),
        );
        assert_eq!(made, 0);
        let compiled = nvrtc::nvrtcCompileProgram(program, 0, ptr::null());
        assert_eq!(compiled, 0, "{}", String::from_utf8_lossy(&(*program).log));
        let code: c_int =
            driver::cuModuleLoadData(&raw mut module, (*program).object.as_ptr().cast());
        assert_eq!(code, 0);
        let found = driver::cuModuleGetFunction(&raw mut function, module, c"kernel".as_ptr());
        assert_eq!(found, 0);
        let launched = driver::cuLaunchKernel(
            function,
            blocks,
            1,
            1,
            threads,
            1,
            1,
            shared_bytes,
            ptr::null_mut(),
            arguments.as_mut_ptr(),
            ptr::null_mut(),
        );
        assert_eq!(launched, 0);
    }
}

/// Bits of bfloat16 numbers of few digits, so that sums are exact in any order.
fn small(index: usize) -> f32 {
    (index * 7 % 23) as f32 / 4.0 - 2.0
}

fn bfloat16_pair(low: f32, high: f32) -> u32 {
    low.to_bits() >> 16 | high.to_bits() & 0xffff_0000
}

#[test]
fn threads_meet_at_a_barrier_in_either_order() {
    let source = r#"extern "C" __global__ void __launch_bounds__(256) kernel(unsigned* const x) {
        extern __shared__ __align__(16) char block[];
        unsigned* const shared = reinterpret_cast<unsigned*>(&block[0]);
        unsigned const at = blockIdx.x * 256 + threadIdx.x;
        shared[threadIdx.x] = x[at];
        __syncthreads();
        x[at] = shared[255 - threadIdx.x];
    }"#;
    let mut buffers = [(0..1024).collect::<Vec<u32>>()];
    launch(source, (4, 256), 1024, &mut buffers);
    let reversed = (0..1024).map(|at| at / 256 * 256 + 255 - at % 256);
    assert_eq!(buffers[0], reversed.collect::<Vec<u32>>());
}

#[test]
fn shared_memory_is_nan_and_a_copy_comes_no_sooner_than_its_wait() {
    let source = r#"extern "C" __global__ void __launch_bounds__(1) kernel(float* const x, float* const y) {
        extern __shared__ __align__(16) char block[];
        float* const shared = reinterpret_cast<float*>(&block[0]);
        y[0] = shared[0];
        shared[0] = 5.0f;
        for (int i = 0; i < 2; i++) {
            asm volatile("cp.async.cg.shared::cta.global [%0], [%1], 16, %2;" : : "r"(__cvta_generic_to_shared(shared + 4 * i)), "l"(x + 4 * i), "r"(16 - 8 * i) : "memory");
            asm volatile("cp.async.commit_group;" : : : "memory");
        }
        y[1] = shared[0];
        asm volatile("cp.async.wait_group 1;" : : : "memory");
        y[2] = shared[3];
        y[3] = shared[4];
        asm volatile("cp.async.wait_group 0;" : : : "memory");
        y[4] = shared[5];
        y[5] = shared[6];
    }"#;
    let numbers = (1..=8u8).map(|n| f32::from(n).to_bits()).collect();
    // Copies are of whole 16 bytes.
    let mut buffers = [numbers, vec![0; 6]];
    launch(source, (1, 1), 32, &mut buffers);
    let seen: Vec<f32> = buffers[1]
        .iter()
        .map(|&bits| f32::from_bits(bits))
        .collect();
    assert!(
        seen[0].is_nan() && seen[1].is_nan() && seen[3].is_nan(),
        "{seen:?}"
    );
    assert_eq!([seen[2], seen[4], seen[5]], [4.0, 6.0, 0.0]);
}

/// The tensor cores' layouts, against a product of rows and columns: A through `ldmatrix`, B through
/// its transposed form, as attention reads them.
#[test]
fn a_warp_multiplies_what_it_loads() {
    let source = r#"extern "C" __global__ void __launch_bounds__(32) kernel(unsigned* const a, unsigned* const b, float* const d) {
        extern __shared__ __align__(16) char block[];
        unsigned* const shared = reinterpret_cast<unsigned*>(&block[0]);
        unsigned const lane = threadIdx.x;
        for (unsigned i = lane; i < 128; i += 32) shared[i] = a[i];
        for (unsigned i = lane; i < 64; i += 32) shared[128 + i] = b[i];
        __syncwarp();
        unsigned a0, a1, a2, a3, b0, b1;
        float d0, d1, d2, d3;
        float const zero = 0.0f;
        unsigned const from_a = __cvta_generic_to_shared(shared + lane % 16 * 8 + lane / 16 * 4);
        unsigned const from_b = __cvta_generic_to_shared(shared + 128 + lane % 16 * 4);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared::cta.b16 {%0, %1, %2, %3}, [%4];" : "=r"(a0), "=r"(a1), "=r"(a2), "=r"(a3) : "r"(from_a) : "memory");
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared::cta.b16 {%0, %1}, [%2];" : "=r"(b0), "=r"(b1) : "r"(from_b) : "memory");
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};" : "=f"(d0), "=f"(d1), "=f"(d2), "=f"(d3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "f"(zero), "f"(zero), "f"(zero), "f"(zero));
        float* const to = d + lane / 4 * 8 + lane % 4 * 2;
        to[0] = d0; to[1] = d1; to[64] = d2; to[65] = d3;
    }"#;
    let (a, b) = (
        |row: usize, k: usize| small(row * 16 + k),
        |k: usize, column: usize| small(300 + k * 8 + column),
    );
    let of_a = (0..128)
        .map(|i| (i / 8, i % 8 * 2))
        .map(|(row, k)| bfloat16_pair(a(row, k), a(row, k + 1)));
    let of_b = (0..64)
        .map(|i| (i / 4, i % 4 * 2))
        .map(|(k, n)| bfloat16_pair(b(k, n), b(k, n + 1)));
    let mut buffers = [of_a.collect(), of_b.collect(), vec![0; 128]];
    launch(source, (1, 32), 768, &mut buffers);
    for (at, &bits) in buffers[2].iter().enumerate() {
        let exact: f32 = (0..16).map(|k| a(at / 8, k) * b(k, at % 8)).sum();
        assert_eq!(
            f32::from_bits(bits),
            exact,
            "row {} column {}",
            at / 8,
            at % 8
        );
    }
}

/// Every half-precision number to float32 and back, and float32 numbers at and around ties.
#[test]
fn half_precision_rounds_to_nearest_even() {
    let source = r#"extern "C" __global__ void __launch_bounds__(256) kernel(unsigned* const x, unsigned* const halves, unsigned* const bfloats) {
        unsigned const at = blockIdx.x * 256 + threadIdx.x;
        float const value = reinterpret_cast<const float&>(x[at]);
        __half const half = value;
        __nv_bfloat16 const bfloat = value;
        halves[at] = half.held | (__half(float(half)).held << 16);
        bfloats[at] = bfloat.held | (__nv_bfloat16(float(bfloat)).held << 16);
    }"#;
    let ties = (0..1u32 << 16).flat_map(|half| {
        let as_float = half::f16::from_bits(half as u16).to_f32().to_bits();
        [
            as_float,
            as_float ^ 0x1000,
            as_float.wrapping_add(0x1001),
            half << 16 | 0x8000,
        ]
    });
    let floats: Vec<u32> = ties.collect();
    let count = floats.len();
    let mut buffers = [floats, vec![0; count], vec![0; count]];
    launch(source, (count as u32 / 256, 256), 0, &mut buffers);
    let [floats, halves, bfloats] = buffers;
    for ((bits, half), bfloat) in floats.into_iter().zip(halves).zip(bfloats) {
        let float = f32::from_bits(bits);
        if float.is_nan() {
            assert_eq!((half, bfloat), (0x7fff_7fff, 0x7fff_7fff));
            continue;
        }
        let twice = |bits: u16| u32::from(bits) << 16 | u32::from(bits);
        assert_eq!(
            half,
            twice(half::f16::from_f32(float).to_bits()),
            "{float:e}"
        );
        assert_eq!(
            bfloat,
            twice(half::bf16::from_f32(float).to_bits()),
            "{float:e}"
        );
    }
}

#[test]
fn fragments_multiply_in_ten_bits() {
    let source = r#"extern "C" __global__ void __launch_bounds__(32) kernel(float* const a, float* const b, float* const d) {
        using namespace nvcuda::wmma;
        fragment<matrix_a, 16, 16, 8, precision::tf32, row_major> of_a;
        fragment<matrix_b, 16, 16, 8, precision::tf32, col_major> of_b;
        fragment<accumulator, 16, 16, 8, float> sums;
        fill_fragment(sums, 0.0f);
        load_matrix_sync(of_a, a, 8);
        load_matrix_sync(of_b, b, 8);
        mma_sync(sums, of_a, of_b, sums);
        store_matrix_sync(d, sums, 16, mem_row_major);
    }"#;
    let (a, b) = (
        |row: usize, k: usize| small(row * 8 + k),
        |column: usize, k: usize| small(200 + column * 8 + k),
    );
    // What is below ten bits is not seen.
    let of = |f: &dyn Fn(usize, usize) -> f32| {
        (0..128)
            .map(|i| f(i / 8, i % 8).to_bits() | 0xfff)
            .collect()
    };
    let mut buffers = [of(&a), of(&b), vec![0; 256]];
    launch(source, (1, 32), 0, &mut buffers);
    for (at, &bits) in buffers[2].iter().enumerate() {
        let exact: f32 = (0..8).map(|k| a(at / 16, k) * b(at % 16, k)).sum();
        assert_eq!(
            f32::from_bits(bits),
            exact,
            "row {} column {}",
            at / 16,
            at % 16
        );
    }
}

const BROKEN: [(&str, &str, &str); 4] = [
    (
        "barrier",
        "if (threadIdx.x < 7) __syncthreads();",
        "a barrier that not all threads reach",
    ),
    (
        "warp",
        "if (threadIdx.x < 7) __shfl_sync(~0u, x[0], 0);\n else __syncwarp();",
        "lanes of a warp are at",
    ),
    (
        "aligned",
        "unsigned a; if (threadIdx.x < 31) asm(\"ldmatrix.sync.aligned.m8n8.x1.shared::cta.b16 {%0}, [%1];\" : \"=r\"(a) : \"r\"(0));",
        "without all lanes of the warp",
    ),
    (
        "shared",
        "asm(\"cp.async.ca.shared::cta.global [%0], [%1], 4, 4;\" : : \"r\"(256), \"l\"(x));",
        "of 256 bytes of shared memory",
    ),
];

/// What breaks a rule ends the process, so each runs in one of its own.
#[test]
fn what_breaks_a_rule_ends_the_process_with_a_message() {
    const RULE: &str = "CUDA_ON_CPU_BROKEN_RULE";
    if let Ok(rule) = std::env::var(RULE) {
        let (_, body, _) = BROKEN
            .iter()
            .find(|(name, ..)| *name == rule)
            .expect("a rule");
        let source = format!("extern \"C\" __global__ void kernel(unsigned* const x) {{ {body} }}");
        launch(&source, (1, 32), 256, &mut [vec![0; 32]]);
        return;
    }
    for (rule, _, message) in BROKEN {
        let test = std::thread::current()
            .name()
            .expect("a test has a name")
            .to_owned();
        let child = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args([&test, "--exact", "--nocapture"])
            .env(RULE, rule)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(
            !child.status.success() && said.contains(message),
            "{rule}: {said}"
        );
    }
}
