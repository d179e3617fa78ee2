//! What the CubeCL implementations share: tensors on the device, launch sizes, and sums over a cube.
//!
//! Every kernel but those of `attention/cube/tensor_cores` runs on WebGPU's baseline: no plane
//! operations, at most 32 KiB of shared memory, 256 units, and seven storage buffers, one of which
//! CubeCL takes for sizes and scalars. `tests/it/tidy.rs` counts the buffers.

use std::ops::Range;

use burn::tensor::{DType, Shape};
use burn_backend::TensorMetadata;
use burn_backend::cubecl::dtype_to_storage_type;
use burn_backend::ops::FloatTensorOps;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::server::Handle;
use cubecl::tf32;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

/// Cubes along one axis of a launch; WebGPU's limit.
const MAX_CUBES: usize = 65_535;

/// The tensor with its rows one after the other.
pub(crate) fn contiguous(tensor: CubeTensor) -> CubeTensor {
    kernel::into_contiguous(tensor)
}

/// The tensor, or a copy where something else holds it: it is written in place.
pub(crate) fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = contiguous(tensor);
    if tensor.can_mut() {
        tensor
    } else {
        tensor.copy()
    }
}

/// An uninitialised tensor on the device of another, for a kernel that writes every value.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        shape.into(),
        dtype,
    )
}

/// Zeros on the device of another tensor, the rows one after the other: burn's own leave gaps between
/// them on CUDA.
pub(crate) fn zeros<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let count = shape.iter().product();
    let zeros = empty(like, shape, DType::F32);
    let (cubes, units) = elementwise(count);
    fill_with_zeros::launch(
        &like.client,
        cubes,
        units,
        zeros.clone().into_buffer_arg(),
        count,
    );
    zeros
}

#[cube(launch)]
fn fill_with_zeros(values: &mut [f32], count: usize) {
    if ABSOLUTE_POS < count {
        values[ABSOLUTE_POS] = 0.0;
    }
}

/// The values of a contiguous tensor in another shape.
pub(crate) fn reshaped<const D: usize>(tensor: CubeTensor, shape: [usize; D]) -> CubeTensor {
    let tensor = contiguous(tensor);
    CubeTensor::new_contiguous(
        tensor.client,
        tensor.device,
        Shape::from(shape),
        tensor.handle,
        tensor.dtype,
    )
}

/// A matrix's transpose, without a copy.
pub(crate) fn transposed(matrix: CubeTensor) -> CubeTensor {
    CubeBackend::float_swap_dims(matrix, 0, 1)
}

/// Rows of a matrix, to be read and written where they lie: burn's own slice is a copy where its end is
/// not aligned. Here the buffer ends up to an alignment behind the rows, and their number says where.
pub(crate) fn rows(matrix: &CubeTensor, range: &Range<usize>) -> CubeTensor {
    let [height, width] = matrix.shape().dims();
    let bytes = |rows: usize| rows * width * matrix.dtype.size();
    let (start, alignment) = (bytes(range.start), alignment(matrix));
    assert!(
        start.is_multiple_of(alignment),
        "rows from {start} bytes on"
    );
    let behind = bytes(height - range.end) / alignment * alignment;
    let mut rows = matrix.clone();
    rows.handle = rows.handle.offset_start(start as u64);
    rows.handle = rows.handle.offset_end(behind as u64);
    rows.meta.shape = Shape::from([range.len(), width]);
    rows
}

/// Where a kernel can be given a buffer of the tensor's device, in bytes: a power of two.
pub(crate) fn alignment(tensor: &CubeTensor) -> usize {
    tensor.client.properties().memory.alignment as usize
}

/// `a · b`, float32 in float32: burn's own choice rounds it to TF32 where there are instructions for
/// that.
///
/// # Panics
/// Where the device has no kernel for these matrices.
pub(crate) fn product(
    a: CubeTensor,
    b: CubeTensor,
    out: Option<CubeTensor>,
    dtype: DType,
) -> CubeTensor {
    let rounds = a
        .client
        .properties()
        .supports_type(tf32::elem_type_native());
    let done = match a.dtype {
        DType::F32 if rounds => product_by_units(a, b, out, dtype),
        _ => matmul(a, b, out, MatmulStrategy::default(), dtype),
    };
    done.unwrap_or_else(|error| panic!("the device has no matmul for these matrices: {error:?}"))
}

/// As [`product`], without matrix instructions.
fn product_by_units(
    a: CubeTensor,
    b: CubeTensor,
    out: Option<CubeTensor>,
    dtype: DType,
) -> Result<CubeTensor, MatmulSetupError> {
    let out = out.unwrap_or_else(|| {
        let [[rows, _], [_, columns]] = [&a, &b].map(|matrix| matrix.shape().dims());
        empty(&a, [rows, columns], dtype)
    });
    let [left, right, into] = [&a, &b, &out].map(element);
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems {
        lhs: left,
        rhs: right,
        out: into,
    });
    launch_ref(
        &Strategy::MultiLevel(multi_level::Strategy::DoubleUnit(Default::default())),
        &out.client,
        InputBinding::new(a.binding(), left),
        InputBinding::new(b.binding(), right),
        out.clone().binding(),
        &mut types,
    )?;
    Ok(out)
}

/// Values from the host, on the device of another tensor.
pub(crate) fn tensor<const D: usize>(
    like: &CubeTensor,
    values: &[f32],
    shape: [usize; D],
) -> CubeTensor {
    let handle = like.client.create_from_slice(f32::as_bytes(values));
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        Shape::from(shape),
        handle,
        DType::F32,
    )
}

/// Indices on the device of a tensor.
pub(crate) struct Indices {
    handle: Handle,
    count: usize,
}

impl Indices {
    pub(crate) fn upload(like: &CubeTensor, values: &[u32]) -> Self {
        // No device allocates nothing.
        let values = if values.is_empty() { &[0] } else { values };
        Indices {
            handle: like.client.create_from_slice(u32::as_bytes(values)),
            count: values.len(),
        }
    }

    /// For a launch.
    pub(crate) fn argument(&self) -> BufferArg {
        // SAFETY: the buffer was made from so many values.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.count) }
    }
}

/// Indices for one launch.
pub(crate) fn upload(like: &CubeTensor, values: &[u32]) -> BufferArg {
    Indices::upload(like, values).argument()
}

/// What a kernel's `#[define]` takes for a tensor's type.
pub(crate) fn element(tensor: &CubeTensor) -> ElemType {
    dtype_to_storage_type(tensor.dtype())
}

/// `count` cubes. A kernel must let those at and above `count` end.
pub(crate) fn cubes(count: usize) -> CubeCount {
    let y = count.div_ceil(MAX_CUBES).max(1);
    CubeCount::Static(count.div_ceil(y).max(1) as u32, y as u32, 1)
}

/// Units for a row of `width` values: a power of two from 32 to 256.
pub(crate) fn units_for(width: usize) -> u32 {
    (width.next_power_of_two() as u32).clamp(32, 256)
}

/// Cubes of 256 units that give each of `count` values a unit.
pub(crate) fn elementwise(count: usize) -> (CubeCount, CubeDim) {
    (cubes(count.div_ceil(256)), CubeDim::new_1d(256))
}

/// Σ of one value a unit, the same in every unit, in an order that depends on `units` alone.
#[cube]
pub(crate) fn cube_sum(value: f32, scratch: &mut Shared<[f32]>, #[comptime] units: u32) -> f32 {
    let unit = UNIT_POS as usize;
    scratch[unit] = value;
    sync_cube();
    let steps = comptime!(units.ilog2());
    #[unroll]
    for step in 0..steps {
        let half = comptime!((units >> (step + 1)) as usize);
        if unit < half {
            scratch[unit] += scratch[unit + half];
        }
        sync_cube();
    }
    let total = scratch[0];
    // Nobody writes before all have read.
    sync_cube();
    total
}

/// The largest of one value a unit, the same in every unit.
#[cube]
pub(crate) fn cube_max(value: f32, scratch: &mut Shared<[f32]>, #[comptime] units: u32) -> f32 {
    let unit = UNIT_POS as usize;
    scratch[unit] = value;
    sync_cube();
    let steps = comptime!(units.ilog2());
    #[unroll]
    for step in 0..steps {
        let half = comptime!((units >> (step + 1)) as usize);
        if unit < half {
            scratch[unit] = max(scratch[unit], scratch[unit + half]);
        }
        sync_cube();
    }
    let largest = scratch[0];
    sync_cube();
    largest
}

/// tanh of a clamped argument: some drivers compute it from e²ˣ, which overflows. NaN stays NaN.
#[cube]
pub(crate) fn saturating_tanh(x: f32) -> f32 {
    let mut value = x.tanh();
    if x > 15.0f32 {
        value = f32::new(1.0);
    }
    if x < -15.0f32 {
        value = f32::new(-1.0);
    }
    value
}

/// `[parts, width]` → `[width]`, the parts in their order.
pub(crate) fn sum_parts(parts: CubeTensor, dtype: DType) -> CubeTensor {
    let [count, width] = parts.shape().dims();
    let output = empty(&parts, [width], dtype);
    let (cubes, units) = elementwise(width);
    sum_parts_kernel::launch(
        &parts.client.clone(),
        cubes,
        units,
        parts.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        count,
        width,
        element(&output),
    );
    output
}

#[cube(launch)]
fn sum_parts_kernel<F: Float>(
    parts: &[f32],
    output: &mut [F],
    count: usize,
    width: usize,
    #[define(F)] _element: ElemType,
) {
    let column = ABSOLUTE_POS;
    if column < width {
        let mut total = 0.0f32;
        for part in 0..count {
            total += parts[part * width + column];
        }
        output[column] = F::cast_from(total);
    }
}
