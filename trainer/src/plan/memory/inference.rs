//! What passes without gradients take: completions that are sampled, and evaluations.

use kernels::DECODE_BLOCK;

use super::{Items, Moment, Place, widths};
use crate::plan::{Frozen, Generation, Trained};

impl Items<'_> {
    /// Completions, in reinforcement learning and in evaluations.
    pub(super) fn add_generation(&mut self) {
        let work = self.job.work;
        // A checkpoint waits for a set that is drawn while a step trains.
        let set = move |moment| {
            let rollout = work.rollout?;
            let is_there = match rollout.beside_training {
                true => moment != Moment::Save,
                false => moment == Moment::Sampling,
            };
            is_there.then_some(rollout.generation)
        };
        let answers = move |moment| match moment {
            Moment::Answering => work.evaluation.generation,
            _ => None,
        };
        let [_, _, keys, _] = widths(&self.job.config);
        let (number, layers) = (self.number(), self.job.config.num_hidden_layers as u64);
        let vocab = self.job.config.vocab_size as u64;
        let of = |moment: Moment, parts: &dyn Fn(Generation) -> Vec<[u64; 2]>| {
            let generations = set(moment).into_iter().chain(answers(moment));
            generations.flat_map(parts).collect()
        };
        self.add("key-value cache", Place::Device, |moment| {
            of(moment, &|generation| {
                let layer = number * generation.slots * generation.capacity * keys;
                vec![[layer, 2 * layers]]
            })
        });
        // The product, of whole blocks of rows in half precision, and what the soft-cap makes of it.
        self.add("logits of a token", Place::Device, |moment| {
            of(moment, &|generation| {
                let rows = match number {
                    4 => generation.slots,
                    _ => generation.slots.next_multiple_of(DECODE_BLOCK as u64),
                };
                vec![[4 * rows * vocab, 1], [4 * generation.slots * vocab, 1]]
            })
        });
        let results = |tokens: u64| self.block_results(tokens);
        let prompts =
            Moment::ALL.map(|moment| of(moment, &|generation| results(generation.prompt_tokens)));
        self.add("prompts, one block", Place::Device, |moment| {
            prompts[moment as usize].clone()
        });
        let casts = self.casts();
        let beside_training = work.rollout.is_some_and(|rollout| rollout.beside_training);
        // Frozen ones too that their file has in other numbers, but not those it is read from each time.
        if casts || (number != 4 && self.kept() != number) {
            let counts = self.job.counts;
            let head = counts.embedding * u64::from(self.casts_head());
            let blocks = match self.job.trained {
                Trained::Adapters {
                    frozen: Frozen::Streamed,
                    ..
                } => 0,
                _ => counts.block_matrices * layers,
            };
            let shared = match self.job.copies && casts {
                true => self.copied(),
                false => 0,
            };
            let copies = number * (blocks + head);
            let new = copies - number * shared;
            self.add("bfloat16 weights that sample", Place::Device, |moment| {
                let replaced = beside_training && is_replaced(moment);
                let copies = if replaced { copies } else { new };
                of(moment, &|_| vec![[copies, 1]])
            });
        }
        if beside_training {
            // The optimizer replaces the weights that sample, where it would change them in place.
            let trained = match casts {
                true => 4 * (self.job.counts.embedding - self.job.frozen_embedding()),
                false => 4 * self.job.num_trained(),
            };
            self.add(
                "weights that sample",
                Place::Device,
                |moment| match is_replaced(moment) {
                    true => vec![[trained, 1]],
                    false => Vec::new(),
                },
            );
        }
    }

    /// Held-out rows whose probabilities are computed.
    pub(super) fn add_scoring(&mut self) {
        let evaluation = self.job.work.evaluation;
        let (results, head) = match evaluation.supervised {
            0 => (Vec::new(), Vec::new()),
            supervised => (
                self.block_results(evaluation.tokens),
                self.head_chunk(supervised, 1),
            ),
        };
        self.add("held-out rows, one block", Place::Device, |moment| {
            match moment {
                // The head's turn comes when the blocks are done.
                Moment::Scoring if size(&results) >= size(&head) => results.clone(),
                Moment::Scoring => head.clone(),
                _ => Vec::new(),
            }
        });
    }

    /// What is there at a time of one block's results, where no graph keeps them: what goes past the
    /// feed-forward part, into it, and gate, up and their product; or the same of attention.
    fn block_results(&self, tokens: u64) -> Vec<[u64; 2]> {
        let [hidden, queries, keys, inner] = widths(&self.job.config);
        let row = self.number() * tokens;
        let feed_forward = vec![[row * hidden, 2], [row * inner, 3]];
        let attention = vec![[row * hidden, 2], [row * queries, 3], [row * keys, 3]];
        match size(&feed_forward) >= size(&attention) {
            true => feed_forward,
            false => attention,
        }
    }
}

/// Whether the weights that sample beside training may be older than those that train.
fn is_replaced(moment: Moment) -> bool {
    matches!(
        moment,
        Moment::Sampling | Moment::Step | Moment::Scoring | Moment::Answering
    )
}

fn size(parts: &[[u64; 2]]) -> u64 {
    parts.iter().map(|[size, count]| size * count).sum()
}
