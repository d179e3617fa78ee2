//! Memory as a list of named items, each with the bytes it takes at the moments of a step at which
//! one of them can be the most there is.
//!
//! With P parameters of which G are trained, L blocks, T tokens in a micro-batch of which S reach the
//! head, widths h (hidden), q (query heads), k (key heads) and f (feed-forward), a vocabulary of V and
//! c bytes a number of the computation:
//!
//! | item | bytes |
//! |---|---|
//! | weights | 4 P; with adapters c P + 4 G; an embedding that stays as it is c V h |
//! | streamed blocks | in place of all of them, two; on a GPU two more in the host's memory |
//! | moments | 8 G, or 2 + 8 / 256 a value in parameters of 4,096 values or more |
//! | gradients | 4 G when the last of them is there, fewer before |
//! | the tied embedding's second gradient | 4 V h, until the two are added |
//! | bfloat16 copies | 2 bytes a number of the matrices that train |
//! | bfloat16 gradients and casts | a matrix's gradient before it is float32; without copies, 2 bytes a matrix parameter of the blocks whose graph is there |
//! | bfloat16 weights that sample | 2 bytes a parameter that has no copy, while something is generated; those that sample beside training are copies of their own |
//! | block inputs | c T h (L + 1), where blocks are recomputed |
//! | activations | T (c (n h + 2 q + 2 k + 3 f) + 4 heads) a block: its input, the inputs and results of its norms (n is 6 with four norms, 4 with two), q, k, v, the attention's output, gate, up and their product; with q and k norms q + k more |
//! | inside a block's backward | c T (2 f + h) and the first matrix's gradient on top of the activations, or, at its end, the block's gradients, a copy of the largest that is transposed, and 3 c T h |
//! | the head | the S hidden states and their gradient, and the logits of a chunk; on the CPU as much again for the operand that the gemm packs |
//! | generation | the key-value cache, 2 c L k slots · capacity; the prompts, all in one row, a block's results without a graph; the logits of a token of each sequence |
//! | evaluation | a row as large as a micro-batch: a block's results without a graph, then a chunk of logits; after that, generation |
//! | a merge's check | three of its blocks, at a checkpoint of adapters |
//! | freed blocks | on the CPU: see [`MMAP_THRESHOLD`] |
//! | the program | on the CPU: see [`PROGRAM_BYTES`] |

mod inference;
mod weights;

use kernels::adamw::eight_bit::BLOCK;
use kernels::linear_logprobs::chunks::{tokens_at_a_time, vocab_at_a_time};
use model::ModelConfig;

use super::{Hardware, Job, Trained};
use crate::forward::Recompute;
use crate::optimizer::MIN_8BIT_SIZE;
use crate::recipe::Optim;

/// A moment of an optimizer step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Completions are sampled.
    Sampling,
    /// The loss, and the gradients of the head.
    Head,
    /// Backward through the last block.
    LastBlock,
    /// Backward through the first one, when most gradients are there.
    FirstBlock,
    /// Backward through the embedding.
    Embedding,
    /// The optimizer's step.
    Step,
    /// A checkpoint.
    Save,
    /// An evaluation computes probabilities of held-out rows.
    Scoring,
    /// An evaluation writes answers, after that.
    Answering,
}

/// Bytes at each moment.
type ByMoment = [u64; Moment::ALL.len()];

/// Which memory an item is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The device's; on the CPU, the host's.
    Device,
    /// The host's.
    Host,
}

/// Something that takes memory.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is.
    pub name: &'static str,
    /// Where it is.
    pub place: Place,
    /// Bytes by moment, in the order of [`Moment::ALL`].
    pub bytes: ByMoment,
    /// Of these, in blocks below [`MMAP_THRESHOLD`].
    small: ByMoment,
    held: Held,
}

/// How long the blocks of an item live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Over the optimizer step, as gradients do.
    Step,
    /// Within a forward and backward pass.
    Pass,
}

/// All items of a stage.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The items, those that take nothing left out.
    pub items: Vec<Item>,
}

/// glibc's malloc gets larger blocks from the kernel one by one and gives them back when they are
/// freed. Smaller ones lie on a heap, which shrinks only from its top, and not before twice as much
/// as this is free there. What a pass frees is that top: at most `TRIM_THRESHOLD` of it stays.
/// Gradients lie between moments, which live on, so all of theirs may stay. How much of either is
/// used again by blocks of other sizes is not to be known: between nothing and all of it, so half is
/// counted. It is nothing where matrices and activations are larger than this.
/// (`DEFAULT_MMAP_THRESHOLD_MAX` in glibc's malloc.c, which the threshold reaches once a block of that
/// size was freed.)
pub const MMAP_THRESHOLD: u64 = 32 << 20;

/// What training a model of 70 KB adds to what the program had resident before: its code, which is
/// read as it is used, and its threads' stacks. Measured on Linux, two threads; the one number here
/// that is not computed.
pub const PROGRAM_BYTES: u64 = 16 << 20;

/// What malloc keeps at the top of its heap: see [`MMAP_THRESHOLD`].
const TRIM_THRESHOLD: u64 = 2 * MMAP_THRESHOLD;

impl Moment {
    /// In the order of a step.
    pub const ALL: [Self; 9] = [
        Self::Sampling,
        Self::Head,
        Self::LastBlock,
        Self::FirstBlock,
        Self::Embedding,
        Self::Step,
        Self::Save,
        Self::Scoring,
        Self::Answering,
    ];

    /// As the end of "the peak is in …".
    pub fn words(self) -> &'static str {
        match self {
            Self::Sampling => "sampling",
            Self::Head => "the loss and the head's gradient",
            Self::LastBlock => "the backward pass of the last block",
            Self::FirstBlock => "the backward pass of the first block",
            Self::Embedding => "the backward pass of the embedding",
            Self::Step => "the optimizer's step",
            Self::Save => "writing a checkpoint",
            Self::Scoring => "the held-out loss of an evaluation",
            Self::Answering => "the answers of an evaluation",
        }
    }
}

impl Memory {
    /// The memory of a job.
    pub fn of(job: &Job) -> Self {
        let mut items = Items {
            job,
            items: Vec::new(),
        };
        items.add_weights();
        items.add_optimizer();
        items.add_activations();
        items.add_head();
        items.add_generation();
        items.add_scoring();
        items.add_saving();
        if job.hardware == Hardware::Cpu {
            items.add_freed();
            let name = "the program's code and threads";
            items.add(name, Place::Host, |_| vec![[PROGRAM_BYTES, 1]]);
        }
        items.items.retain(|item| item.largest() > 0);
        Memory { items: items.items }
    }

    /// The most bytes on the device, and when; on the CPU, host items count with it.
    pub fn peak(&self) -> (u64, Moment) {
        let moments = Moment::ALL.into_iter().zip(self.sums(Place::Device));
        let (moment, bytes) = moments
            .max_by_key(|(_, bytes)| *bytes)
            .expect("a step has moments");
        (bytes, moment)
    }

    /// The most bytes in the host's memory beside a device.
    pub fn host_peak(&self) -> u64 {
        self.sums(Place::Host).into_iter().max().unwrap_or(0)
    }

    fn sums(&self, place: Place) -> ByMoment {
        let mut sums = ByMoment::default();
        for item in self.items.iter().filter(|item| item.place == place) {
            for (sum, bytes) in sums.iter_mut().zip(item.bytes) {
                *sum += bytes;
            }
        }
        sums
    }
}

impl Item {
    /// Bytes at a moment.
    pub fn at(&self, moment: Moment) -> u64 {
        self.bytes[moment as usize]
    }

    /// The most it ever takes.
    pub fn largest(&self) -> u64 {
        self.bytes.into_iter().max().unwrap_or(0)
    }
}

/// Widths of a block: hidden, query heads, key heads, feed-forward.
pub(super) fn widths(config: &ModelConfig) -> [u64; 4] {
    [
        config.hidden_size,
        config.num_attention_heads * config.head_dim,
        config.num_key_value_heads * config.head_dim,
        config.intermediate_size,
    ]
    .map(|width| width as u64)
}

/// Both moments of every trained parameter.
pub(super) fn moment_bytes(job: &Job) -> u64 {
    let of = |count: u64| match job.optim {
        Optim::Adamw8bit if count >= MIN_8BIT_SIZE as u64 => {
            count.next_multiple_of(BLOCK as u64) * 2 + count.div_ceil(BLOCK as u64) * 8
        }
        _ => count * 8,
    };
    match job.trained {
        Trained::All => {
            let tensors = job.config.expected_tensors();
            let all: u64 = tensors.iter().map(|t| of(t.num_elements() as u64)).sum();
            all - of(job.frozen_embedding())
        }
        // An adapter's matrices are large enough, all of them.
        Trained::Adapters { .. } => of(job.num_trained()),
    }
}

struct Items<'a> {
    job: &'a Job,
    items: Vec<Item>,
}

impl Items<'_> {
    /// `parts` are (bytes of a block of memory, how many) at each moment.
    fn add(&mut self, name: &'static str, place: Place, parts: impl Fn(Moment) -> Vec<[u64; 2]>) {
        self.add_held(Held::Pass, name, place, parts);
    }

    fn add_held(
        &mut self,
        held: Held,
        name: &'static str,
        place: Place,
        parts: impl Fn(Moment) -> Vec<[u64; 2]>,
    ) {
        let place = match self.job.hardware {
            Hardware::Cpu => Place::Device,
            _ => place,
        };
        let sum = |moment: Moment, below: u64| -> u64 {
            let parts = parts(moment).into_iter();
            let small = parts.filter(|[size, _]| *size < below);
            small.map(|[size, count]| size * count).sum()
        };
        self.items.push(Item {
            name,
            place,
            bytes: Moment::ALL.map(|moment| sum(moment, u64::MAX)),
            small: Moment::ALL.map(|moment| sum(moment, MMAP_THRESHOLD)),
            held,
        });
    }

    fn add_optimizer(&mut self) {
        let job = self.job;
        let moments = moment_bytes(job);
        let name = match job.optim {
            Optim::AdamwTorch => "moments, float32",
            Optim::Adamw8bit => "moments, 8 bits",
        };
        self.add(name, Place::Device, move |_| vec![[moments, 1]]);
        if let Trained::Adapters { .. } = job.trained {
            let gradients = 4 * job.num_trained();
            self.add("gradients, float32", Place::Device, |moment| match moment {
                Moment::Sampling | Moment::Save | Moment::Scoring | Moment::Answering => Vec::new(),
                _ => vec![[gradients, 1]],
            });
            return;
        }
        let (tied, table) = (job.config.tie_word_embeddings, 4 * job.counts.embedding);
        let layers = job.config.num_hidden_layers as u64;
        let keeps = job.recompute == Recompute::Nothing;
        // Of a pass whose gradients join the sum at its end, those of copies are as the copies are.
        let number = if job.copies { self.number() } else { 4 };
        let [block, block_of_pass] = [4, number].map(|number| self.block_gradients(number));
        let times = |block: &[[u64; 2]], count: u64| -> Vec<[u64; 2]> {
            block.iter().map(|[size, n]| [*size, n * count]).collect()
        };
        let blocks = |count: u64| times(&block, count);
        let passing = |count: u64| times(&block_of_pass, count);
        // Of the head alone, so often, and of all parameters.
        let head = u64::from(job.trains_head());
        let outside = |count: u64| vec![[table, count * head]];
        let frozen = u64::from(job.frozen_embedding() > 0);
        let tables = if tied { 1 } else { 2 } - frozen;
        let norm = 4 * widths(&job.config)[0];
        let whole = || [blocks(layers), vec![[table, tables]], vec![[norm, 1]]].concat();
        let accumulates = job.work.passes() > 1;
        let outside_of_pass = || vec![[number * job.counts.embedding, head]];
        let of_pass = || match tied {
            // The head's is the second gradient below.
            true => [passing(layers), vec![[table, tables], [norm, 1]]].concat(),
            false => {
                let own = vec![[table, tables - head], [norm, 1]];
                [passing(layers), outside_of_pass(), own].concat()
            }
        };
        let name = "gradients, float32";
        self.add_held(Held::Step, name, Place::Device, |moment| match moment {
            Moment::Sampling | Moment::Save | Moment::Scoring | Moment::Answering => Vec::new(),
            Moment::Step => whole(),
            Moment::Head if accumulates => [whole(), outside(1)].concat(),
            Moment::Head => outside(1),
            // A recomputed block adds its own to the sum at once, the head before it.
            Moment::LastBlock if accumulates && keeps => [whole(), outside_of_pass()].concat(),
            Moment::LastBlock if accumulates => whole(),
            Moment::LastBlock if keeps => outside_of_pass(),
            Moment::LastBlock => outside(1),
            Moment::FirstBlock if accumulates && keeps => {
                [whole(), passing(layers - 1), outside_of_pass()].concat()
            }
            Moment::FirstBlock if accumulates => whole(),
            Moment::FirstBlock if keeps => [passing(layers - 1), outside_of_pass()].concat(),
            Moment::FirstBlock => [blocks(layers - 1), outside(1)].concat(),
            Moment::Embedding if accumulates && keeps => [whole(), of_pass()].concat(),
            Moment::Embedding => whole(),
        });
        let name = "second gradient of the embedding";
        self.add(name, Place::Device, |moment| match moment {
            Moment::Embedding if tied || (accumulates && !keeps) => outside(1),
            _ => Vec::new(),
        });
    }

    fn add_activations(&mut self) {
        let job = self.job;
        let [hidden, _, _, inner] = widths(&job.config);
        let (number, tokens) = (self.number(), job.work.most_tokens());
        let layers = job.config.num_hidden_layers as u64;
        let keeps = job.recompute == Recompute::Nothing;
        let residual = number * tokens * hidden;
        let block = self.block_activations();
        let blocks = |count: u64| -> Vec<[u64; 2]> {
            block.iter().map(|[size, n]| [*size, n * count]).collect()
        };
        let place = match job.recompute {
            Recompute::BlocksOnHost => Place::Host,
            Recompute::Nothing | Recompute::Blocks => Place::Device,
        };
        if !keeps {
            self.add("block inputs", place, |moment| match moment {
                Moment::Head | Moment::LastBlock => vec![[residual, layers + 1]],
                Moment::FirstBlock => vec![[residual, 1]],
                _ => Vec::new(),
            });
        }
        let name = match keeps {
            true => "activations of all blocks",
            false => "activations of one block",
        };
        let largest = 4 * self.largest_trained();
        let gradients: u64 = self.block_gradients(4).iter().map(|[a, b]| a * b).sum();
        // At its end a block has its gradients and hardly any activations; in its feed-forward part,
        // all activations and one gradient.
        let middle = |count: u64| {
            let passing = [[number * tokens * inner, 2], [residual, 1], [largest, 1]];
            [blocks(count), passing.to_vec()].concat()
        };
        let end = || [self.block_gradients(4), vec![[largest, 1], [residual, 3]]].concat();
        let size = |parts: &[[u64; 2]]| parts.iter().map(|[a, b]| a * b).sum::<u64>();
        let ends_larger = gradients > 0 && size(&end()) > size(&middle(1));
        let end = if ends_larger { end() } else { middle(1) };
        self.add(name, Place::Device, |moment| match moment {
            Moment::Head if keeps => [blocks(layers), vec![[residual, 1]]].concat(),
            Moment::LastBlock if keeps => middle(layers),
            Moment::LastBlock | Moment::FirstBlock => end.clone(),
            Moment::Embedding => vec![[residual, 2]],
            _ => Vec::new(),
        });
    }

    fn add_head(&mut self) {
        let parts = self.head_chunk(self.job.work.most_supervised(), 2);
        self.add("the head's chunk", Place::Device, |moment| match moment {
            Moment::Head => parts.clone(),
            _ => Vec::new(),
        });
    }

    /// Hidden states that reach the head, `copies` of them, and what the head computes at a time.
    fn head_chunk(&self, supervised: u64, copies: u64) -> Vec<[u64; 2]> {
        let job = self.job;
        let [hidden, ..] = widths(&job.config);
        let number = self.number();
        let vocab = job.config.vocab_size;
        let (chunk, extra) = match job.hardware {
            Hardware::Cpu => {
                let rows = tokens_at_a_time(vocab).min(supervised as usize);
                let chunk = 4 * (rows * vocab) as u64;
                (chunk, chunk)
            }
            Hardware::Gpu | Hardware::Cuda => {
                let columns = vocab_at_a_time(supervised.max(1) as usize).min(vocab) as u64;
                let chunk = 4 * columns * supervised;
                // The gradient of the logits in the computation's numbers, and two float32 sums of
                // that of the hidden states.
                (chunk, chunk / 4 * number + 2 * 4 * supervised * hidden)
            }
        };
        let rows = number * supervised * hidden;
        vec![[rows, copies], [chunk, 1], [extra, 1]]
    }

    fn add_saving(&mut self) {
        let job = self.job;
        let largest = match job.trained {
            Trained::All => job.counts.embedding.max(job.counts.largest_in_block),
            Trained::Adapters { .. } => self.largest_trained(),
        };
        let name = "a tensor on its way to a file";
        self.add(name, Place::Host, |moment| match moment {
            Moment::Save => vec![[4 * largest, 2]],
            _ => Vec::new(),
        });
        // One ahead, one at work, and what is left of it for the second look.
        let merged = match job.trained {
            Trained::All => 0,
            Trained::Adapters { .. } => self.kept() * job.counts.block,
        };
        let name = "blocks of the merged model";
        self.add(name, Place::Host, |moment| match moment {
            Moment::Save => vec![[merged, 3]],
            _ => Vec::new(),
        });
    }

    fn add_freed(&mut self) {
        let mut freed = ByMoment::default();
        for (held, at_most) in [(Held::Step, u64::MAX), (Held::Pass, TRIM_THRESHOLD)] {
            let mut small = ByMoment::default();
            for item in self.items.iter().filter(|item| item.held == held) {
                for (sum, bytes) in small.iter_mut().zip(item.small) {
                    *sum += bytes;
                }
            }
            let most = small.into_iter().max().unwrap_or(0);
            for ((freed, now), moment) in freed.iter_mut().zip(small).zip(Moment::ALL) {
                let at_most = (most - now).min(at_most);
                // A checkpoint copies one tensor after the other: what gradients left stays as it is.
                *freed += match (held, moment) {
                    (Held::Step, Moment::Save) => at_most,
                    _ => at_most / 2,
                };
            }
        }
        self.items.push(Item {
            name: "freed blocks that malloc keeps",
            place: Place::Device,
            bytes: freed,
            small: ByMoment::default(),
            held: Held::Pass,
        });
    }

    fn number(&self) -> u64 {
        self.job.compute.num_bytes() as u64
    }

    /// The gradients of one block, tensor by tensor, those of matrices in numbers of so many bytes.
    fn block_gradients(&self, number: u64) -> Vec<[u64; 2]> {
        let trained = self.job.trained == Trained::All;
        let tensors = self.job.config.expected_tensors().into_iter();
        let block = tensors.filter(|t| trained && t.name.starts_with("model.layers.0."));
        let bytes = |matrix: bool| if matrix { number } else { 4 };
        block
            .map(|t| [bytes(t.shape.len() == 2) * t.num_elements() as u64, 1])
            .collect()
    }

    /// The largest matrix of a block whose gradient is made at once.
    fn largest_trained(&self) -> u64 {
        let [hidden, .., inner] = widths(&self.job.config);
        match self.job.trained {
            Trained::All => self.job.counts.largest_in_block,
            Trained::Adapters { rank, .. } => rank * hidden.max(inner),
        }
    }

    /// What the graph of one block keeps, tensor by tensor.
    fn block_activations(&self) -> Vec<[u64; 2]> {
        let config = &self.job.config;
        let [hidden, queries, keys, inner] = widths(config);
        let (number, tokens) = (self.number(), self.job.work.most_tokens());
        let norms = if config.family.is_gemma() { 6 } else { 4 };
        let with_norms = if config.family.has_qk_norm() { 3 } else { 2 };
        let mut kept = vec![
            [number * tokens * hidden, norms],
            [number * tokens * queries, with_norms],
            [number * tokens * keys, with_norms],
            [number * tokens * inner, 3],
            [4 * tokens * config.num_attention_heads as u64, 1],
        ];
        if let Trained::Adapters { rank, .. } = self.job.trained {
            // x · A of each projection.
            kept.push([number * tokens * rank, 7]);
        }
        kept
    }
}
