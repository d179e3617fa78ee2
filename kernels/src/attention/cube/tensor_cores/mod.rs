//! Attention in half precision where planes multiply matrices (NVIDIA, compute capability 8.0 on):
//! FlashAttention-2's scheme (arXiv 2307.08691) on `mma.sync`, with sums in float32.
//!
//! The backward recomputes the scores once for the queries and once for keys and values, so that
//! every sum has one order.

mod backward;
mod forward;
mod tile;

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::ir::FloatKind;
use cubecl::ir::features::MmaConfig;
use cubecl::prelude::*;

use super::{AttentionOptions, Shape, table, window};
use crate::Segments;
use crate::cube::{element, empty, upload};
use crate::segments::Tile;

use tile::{PLANE, pitch};

/// How the kernels divide the work, chosen by what fits a device's shared memory and registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    forward: Forward,
    queries: Backward,
    keys: Backward,
}

/// A cube's planes, the m-tiles of each, and the keys in shared memory at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Forward {
    planes: usize,
    m_tiles: usize,
    keys: usize,
}

/// A cube's planes of 16 rows, and the rows that they meet at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Backward {
    planes: usize,
    met: usize,
}

impl Tiling {
    /// The tiling for tensors like `q`, or `None` where the portable kernels must serve.
    pub(super) fn of(q: &CubeTensor, head_dim: usize) -> Option<Self> {
        let kind = match q.dtype {
            DType::BF16 => FloatKind::BF16,
            DType::F16 => FloatKind::F16,
            _ => return None,
        };
        let element = ElemType::Float(kind);
        let features = q.client.features();
        let multiplies = features.matmul.mma.contains(&MmaConfig {
            a_type: element,
            b_type: element,
            cd_type: ElemType::Float(FloatKind::F32),
            m: 16,
            n: 8,
            k: 16,
        });
        let loads = features.matmul.ldmatrix.contains(&element) && features.copy_async;
        let whole = head_dim.is_multiple_of(16) && head_dim <= 256;
        if !(multiplies && loads && whole) {
            return None;
        }
        let shared = q.client.properties().hardware.max_shared_memory_size;
        Self::within(shared, head_dim)
    }

    /// The first of each kernel's choices that fits.
    fn within(shared: usize, head_dim: usize) -> Option<Self> {
        let row = pitch(head_dim) * 16;
        let wide = head_dim > 128;
        let forward = if wide {
            [(8, 1, 32), (4, 1, 32), (4, 1, 16)]
        } else {
            [(4, 2, 64), (4, 2, 32), (4, 1, 32)]
        };
        let forward = forward
            .into_iter()
            .find(|(planes, m_tiles, keys)| (planes * m_tiles * 16 + 4 * keys) * row <= shared)?;
        let queries = if wide {
            [(8, 32), (4, 32), (4, 16)]
        } else {
            [(4, 64), (4, 32), (4, 16)]
        };
        let fits = |(planes, met): &(usize, usize)| (2 * planes * 16 + 4 * met) * row <= shared;
        let queries = queries.into_iter().find(fits)?;
        let keys = if wide {
            [(8, 32), (4, 32), (4, 16)]
        } else {
            [(4, 32), (4, 32), (4, 16)]
        };
        let keys = keys.into_iter().find(fits)?;
        let backward = |(planes, met)| Backward { planes, met };
        Some(Tiling {
            forward: Forward {
                planes: forward.0,
                m_tiles: forward.1,
                keys: forward.2,
            },
            queries: backward(queries),
            keys: backward(keys),
        })
    }
}

/// The output and each row's log-sum-exp.
pub(super) fn forward(
    tiling: Tiling,
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    segments: &Segments,
    options: AttentionOptions,
) -> (CubeTensor, CubeTensor) {
    let shape = Shape::of(&q, &k);
    let output = empty(&q, [shape.tokens, shape.heads, shape.head_dim], q.dtype);
    let logsumexp = empty(&q, [shape.tokens, shape.heads], DType::F32);
    let Forward {
        planes,
        m_tiles,
        keys,
    } = tiling.forward;
    let tiles = longest_first(segments.query_tiles(planes * m_tiles * 16, options.window));
    forward::attend::launch(
        &q.client.clone(),
        CubeCount::Static(shape.heads as u32, tiles.len() as u32, 1),
        CubeDim::new_1d((planes * PLANE) as u32),
        q.clone().into_buffer_arg(),
        k.into_buffer_arg(),
        v.into_buffer_arg(),
        upload(&q, &table(&tiles, 0)),
        output.clone().into_buffer_arg(),
        logsumexp.clone().into_buffer_arg(),
        shape.heads,
        shape.group(),
        window(options),
        options.scale,
        options.softcap.unwrap_or(1.0),
        options.softcap.is_some(),
        shape.head_dim,
        planes,
        m_tiles,
        keys,
        element(&q),
    );
    (output, logsumexp)
}

/// What the backward kernels read: the rows, the table of both kernels with each row's statistics
/// behind it, and where those begin.
pub(super) struct Rows {
    pub(super) q: CubeTensor,
    pub(super) k: CubeTensor,
    pub(super) v: CubeTensor,
    pub(super) grad: CubeTensor,
    pub(super) row_info: CubeTensor,
    pub(super) query_tiles: usize,
    pub(super) key_tiles: usize,
    pub(super) key_table: usize,
    pub(super) stats_start: usize,
}

impl Tiling {
    /// The tiles of the backward's queries, then of its keys.
    pub(super) fn backward_tiles(
        &self,
        segments: &Segments,
        options: AttentionOptions,
    ) -> (Vec<Tile>, Vec<Tile>) {
        let queries = segments.query_tiles(self.queries.planes * 16, options.window);
        let keys = segments.key_tiles(self.keys.planes * 16, options.window);
        (longest_first(queries), longest_first(keys))
    }
}

/// The gradient of the queries, and those of keys and values in one tensor.
pub(super) fn backward(
    tiling: Tiling,
    rows: &Rows,
    options: AttentionOptions,
) -> (CubeTensor, CubeTensor) {
    let shape = Shape::of(&rows.q, &rows.k);
    let grad_q = empty(
        &rows.q,
        [shape.tokens, shape.heads, shape.head_dim],
        rows.q.dtype,
    );
    backward::queries::launch(
        &rows.q.client.clone(),
        CubeCount::Static(shape.heads as u32, rows.query_tiles as u32, 1),
        CubeDim::new_1d((tiling.queries.planes * PLANE) as u32),
        rows.q.clone().into_buffer_arg(),
        rows.k.clone().into_buffer_arg(),
        rows.v.clone().into_buffer_arg(),
        rows.grad.clone().into_buffer_arg(),
        rows.row_info.clone().into_buffer_arg(),
        grad_q.clone().into_buffer_arg(),
        rows.stats_start,
        shape.heads,
        shape.group(),
        window(options),
        options.scale,
        options.softcap.unwrap_or(1.0),
        options.softcap.is_some(),
        shape.head_dim,
        tiling.queries.planes,
        tiling.queries.met,
        element(&rows.q),
    );
    let half = shape.tokens * shape.kv_heads;
    let grad_kv = empty(&rows.q, [2 * half, shape.head_dim], rows.q.dtype);
    let wide = shape.head_dim > 128;
    let passes: &[(bool, bool)] = if wide {
        &[(true, false), (false, true)]
    } else {
        &[(true, true)]
    };
    for &(of_keys, of_values) in passes {
        backward::keys::launch(
            &rows.q.client.clone(),
            CubeCount::Static(shape.kv_heads as u32, rows.key_tiles as u32, 1),
            CubeDim::new_1d((tiling.keys.planes * PLANE) as u32),
            rows.q.clone().into_buffer_arg(),
            rows.k.clone().into_buffer_arg(),
            rows.v.clone().into_buffer_arg(),
            rows.grad.clone().into_buffer_arg(),
            rows.row_info.clone().into_buffer_arg(),
            grad_kv.clone().into_buffer_arg(),
            rows.key_table,
            rows.stats_start,
            half * shape.head_dim / 2,
            shape.heads,
            shape.group(),
            window(options),
            options.scale,
            options.softcap.unwrap_or(1.0),
            options.softcap.is_some(),
            shape.head_dim,
            tiling.keys.planes,
            tiling.keys.met,
            of_keys,
            of_values,
            element(&rows.q),
        );
    }
    (grad_q, grad_kv)
}

/// Tiles with the most to visit first, so that the last cubes to start are short ones.
fn longest_first(mut tiles: Vec<Tile>) -> Vec<Tile> {
    let visited = |tile: &Tile| {
        tile.visits
            .iter()
            .map(|visit| visit.rows.len())
            .sum::<usize>()
    };
    tiles.sort_by_key(|tile| std::cmp::Reverse(visited(tile)));
    tiles
}
