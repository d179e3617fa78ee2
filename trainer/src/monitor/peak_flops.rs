use burn::tensor::DType;

/// Dense products of matrices that a GPU does at most, in 10¹² operations a second: its names without
/// the vendor's, in bfloat16 with sums in float32, in float32 without TF32.
///
/// From NVIDIA's data sheets of the products, which state twice as much for the tensor cores where
/// two of four weights are zero, and for GeForce cards from appendix A of the white papers on GA102,
/// Ada and RTX Blackwell.
const PEAKS: &[(&[&str], f64, f64)] = &[
    (&["A10"], 125.0, 31.2),
    (&["A30"], 165.0, 10.3),
    (&["A40"], 149.7, 37.4),
    (
        &[
            "A100-SXM4-40GB",
            "A100-SXM4-80GB",
            "A100-PCIE-40GB",
            "A100 80GB PCIe",
        ],
        312.0,
        19.5,
    ),
    (&["H100 80GB HBM3", "H200"], 989.4, 66.9),
    (&["GH200 120GB", "GH200 480GB"], 989.4, 66.9),
    (&["H100 PCIe"], 756.4, 51.2),
    (&["H100 NVL", "H200 NVL"], 835.5, 60.0),
    (&["B200"], 2250.0, 75.0),
    (&["L4"], 121.0, 30.3),
    (&["L40"], 181.0, 90.5),
    (&["L40S"], 362.0, 91.6),
    (&["RTX A6000"], 154.8, 38.7),
    (&["RTX 6000 Ada Generation"], 364.2, 91.1),
    (&["GeForce RTX 3090"], 71.0, 35.6),
    (&["GeForce RTX 4090"], 165.2, 82.6),
    (&["GeForce RTX 5090"], 209.5, 104.8),
];

/// The operations a second that a device of this name does at most in this type; `None` where nobody
/// has written it down. A part of a GPU, a laptop's or one of another edition has another name.
pub fn peak_flops(name: &str, dtype: DType) -> Option<f64> {
    let name = name.strip_prefix("NVIDIA ").unwrap_or(name);
    let (_, bfloat16, float32) = PEAKS.iter().find(|(names, ..)| names.contains(&name))?;
    match dtype {
        DType::BF16 => Some(bfloat16 * 1e12),
        DType::F32 => Some(float32 * 1e12),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_known_by_its_whole_name() {
        let bfloat16 = |name| peak_flops(name, DType::BF16);
        assert_eq!(bfloat16("NVIDIA H100 80GB HBM3"), Some(989.4e12));
        assert_eq!(bfloat16("NVIDIA H100 PCIe"), Some(756.4e12));
        assert_eq!(bfloat16("A100-SXM4-40GB"), Some(312e12));
        assert_eq!(bfloat16("NVIDIA H100 80GB HBM3 MIG 1g.10gb"), None);
        assert_eq!(bfloat16("NVIDIA GeForce RTX 4090 Laptop GPU"), None);
        assert_eq!(bfloat16("2 threads, x86_64"), None);
        assert_eq!(peak_flops("NVIDIA L4", DType::F32), Some(30.3e12));
        assert_eq!(peak_flops("NVIDIA L4", DType::F16), None);
    }
}
