//! Tiles of 32 rows and 32 columns, by cubes of 128 units: a unit holds four rows of a tile and
//! every sixteenth column. Scores are recomputed in the backward, once for the gradient of the
//! queries and once for those of keys and values, so that every sum has one order.
//!
//! A tile walks through a list of visits made on the host, so that it never sees a tile outside
//! its segment, prefix and window.

mod backward;
mod forward;
mod tensor_cores;
mod tile;

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{AttentionOps, AttentionOptions};
use crate::Segments;
use crate::cube::{contiguous, element, elementwise, empty, reshaped, upload};
use crate::segments::Tile;

use tensor_cores::{Rows, Tiling};
use tile::{TILE, UNITS};

impl AttentionOps for CubeBackend {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> FloatTensor<Self> {
        Self::attention_forward(q, k, v, segments, options).0
    }

    fn attention_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v] = [q, k, v].map(contiguous);
        let shape = Shape::of(&q, &k);
        if let Some(tiling) = Tiling::of(&q, shape.head_dim) {
            return tensor_cores::forward(tiling, q, k, v, &segments, options);
        }
        let output = empty(&q, [shape.tokens, shape.heads, shape.head_dim], q.dtype);
        let logsumexp = empty(&q, [shape.tokens, shape.heads], DType::F32);
        let tiles = segments.query_tiles(TILE, options.window);
        forward::attend::launch(
            &q.client.clone(),
            CubeCount::Static(tiles.len() as u32, shape.heads as u32, 1),
            CubeDim::new_1d(UNITS as u32),
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
            element(&q),
        );
        (output, logsumexp)
    }

    fn attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        output: FloatTensor<Self>,
        logsumexp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v, output, grad] = [q, k, v, output, grad].map(contiguous);
        let shape = Shape::of(&q, &k);
        let tiling = Tiling::of(&q, shape.head_dim);
        let (query_tiles, key_tiles) = match tiling {
            Some(tiling) => tiling.backward_tiles(&segments, options),
            None => (
                segments.query_tiles(TILE, options.window),
                segments.key_tiles(TILE, options.window),
            ),
        };
        let mut rows = table(&query_tiles, 0);
        let key_table = rows.len();
        rows.extend(table(&key_tiles, key_table));
        let stats_start = rows.len();

        let stats = shape.tokens * shape.heads;
        let row_info = empty(&q, [stats_start + 2 * stats], DType::U32);
        let (cubes, units) = elementwise(stats_start + stats);
        backward::rows::launch(
            &q.client.clone(),
            cubes,
            units,
            output.into_buffer_arg(),
            grad.clone().into_buffer_arg(),
            logsumexp.into_buffer_arg(),
            upload(&q, &rows),
            row_info.clone().into_buffer_arg(),
            stats_start,
            stats,
            shape.head_dim,
            element(&q),
        );

        let half = shape.tokens * shape.kv_heads;
        let part = |grad_kv: &CubeTensor, index: usize| {
            let rows = index * half..(index + 1) * half;
            let part = kernel::slice(grad_kv.clone(), &[rows, 0..shape.head_dim]);
            reshaped(part, [shape.tokens, shape.kv_heads, shape.head_dim])
        };
        if let Some(tiling) = tiling {
            let rows = Rows {
                q,
                k,
                v,
                grad,
                row_info,
                query_tiles: query_tiles.len(),
                key_tiles: key_tiles.len(),
                key_table,
                stats_start,
            };
            let (grad_q, grad_kv) = tensor_cores::backward(tiling, &rows, options);
            return (grad_q, part(&grad_kv, 0), part(&grad_kv, 1));
        }

        let grad_q = empty(&q, [shape.tokens, shape.heads, shape.head_dim], q.dtype);
        backward::queries::launch(
            &q.client.clone(),
            CubeCount::Static(query_tiles.len() as u32, shape.heads as u32, 1),
            CubeDim::new_1d(UNITS as u32),
            q.clone().into_buffer_arg(),
            k.clone().into_buffer_arg(),
            v.clone().into_buffer_arg(),
            grad.clone().into_buffer_arg(),
            row_info.clone().into_buffer_arg(),
            grad_q.clone().into_buffer_arg(),
            stats_start,
            shape.heads,
            shape.group(),
            window(options),
            options.scale,
            options.softcap.unwrap_or(1.0),
            options.softcap.is_some(),
            shape.head_dim,
            element(&q),
        );

        // One buffer, because a kernel may have seven; the halves are the two gradients.
        let grad_kv = empty(&q, [2 * half, shape.head_dim], q.dtype);
        backward::keys::launch(
            &q.client.clone(),
            CubeCount::Static(key_tiles.len() as u32, shape.kv_heads as u32, 1),
            CubeDim::new_1d(UNITS as u32),
            q.clone().into_buffer_arg(),
            k.into_buffer_arg(),
            v.into_buffer_arg(),
            grad.into_buffer_arg(),
            row_info.into_buffer_arg(),
            grad_kv.clone().into_buffer_arg(),
            key_table,
            stats_start,
            half * shape.head_dim,
            shape.heads,
            shape.group(),
            window(options),
            options.scale,
            options.softcap.unwrap_or(1.0),
            options.softcap.is_some(),
            shape.head_dim,
            element(&q),
        );
        (grad_q, part(&grad_kv, 0), part(&grad_kv, 1))
    }
}

struct Shape {
    tokens: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Shape {
    fn of(q: &CubeTensor, k: &CubeTensor) -> Self {
        let [tokens, heads, head_dim] = q.shape().dims();
        let [_, kv_heads, _] = k.shape().dims();
        Shape {
            tokens,
            heads,
            kv_heads,
            head_dim,
        }
    }

    /// Query heads of a key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

fn window(options: AttentionOptions) -> usize {
    options.window.unwrap_or(u32::MAX as usize)
}

/// Four numbers a tile (its rows, and where its visits begin and end), then three a visit (its
/// rows, and the gap). Places count from the beginning of the buffer that the table is put in at
/// `offset`.
fn table(tiles: &[Tile], offset: usize) -> Vec<u32> {
    let mut visits = Vec::new();
    let mut table = Vec::with_capacity(4 * tiles.len());
    let first = offset + 4 * tiles.len();
    for tile in tiles {
        let begin = first + visits.len();
        for visit in &tile.visits {
            visits.extend([visit.rows.start, visit.rows.end, visit.gap]);
        }
        let end = first + visits.len();
        table.extend([tile.rows.start, tile.rows.end, begin, end]);
    }
    table.extend(visits);
    table.into_iter().map(|value| value as u32).collect()
}
