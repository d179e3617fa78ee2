//! What parameters take, and the same in the numbers of the computation.

use model::checkpoint::Dtype as Number;

use super::{Items, Moment, Place};
use crate::forward::Recompute;
use crate::plan::{Frozen, Hardware, Trained};

impl Items<'_> {
    pub(super) fn add_weights(&mut self) {
        let job = self.job;
        let counts = job.counts;
        let (number, layers) = (self.number(), job.config.num_hidden_layers as u64);
        let always = |bytes: u64| move |_| vec![[bytes, 1]];
        match job.trained {
            Trained::All => {
                let name = "weights, float32";
                let trained = job.num_trained();
                self.add(name, Place::Device, always(4 * trained));
                let frozen = self.kept() * job.frozen_embedding();
                self.add("frozen embedding", Place::Device, always(frozen));
            }
            Trained::Adapters { frozen, .. } => {
                let outside = counts.total - layers * counts.block;
                let number = self.kept();
                let name = "frozen weights";
                match frozen {
                    Frozen::Resident => {
                        self.add(name, Place::Device, always(number * counts.total));
                    }
                    Frozen::Streamed => {
                        let here = outside + 2 * counts.block;
                        self.add(name, Place::Device, always(number * here));
                        if job.hardware != Hardware::Cpu {
                            let ahead = always(2 * number * counts.block);
                            self.add("streamed blocks on their way", Place::Host, ahead);
                        }
                    }
                }
                let adapters = always(4 * job.num_trained());
                self.add("adapters, float32", Place::Device, adapters);
            }
        }
        if job.reference {
            let name = "reference model";
            self.add(name, Place::Device, always(self.kept() * counts.total));
        }
        if job.copies {
            let copies = always(number * self.copied());
            self.add("bfloat16 copies", Place::Device, copies);
        }
        if self.casts() {
            self.add_casts();
        }
    }

    /// What is cast on the way: matrices, where no copies of them are kept, and their gradients.
    fn add_casts(&mut self) {
        let job = self.job;
        let (number, layers) = (self.number(), job.config.num_hidden_layers as u64);
        let of_blocks = match job.recompute {
            Recompute::Nothing => layers,
            Recompute::Blocks | Recompute::BlocksOnHost => 1,
        };
        let matrix = number * job.counts.largest_in_block;
        let head = number * job.counts.embedding * u64::from(self.casts_head());
        let (block, cast_head) = match job.copies {
            true => (0, head * u64::from(!job.trains_head())),
            false => (number * job.counts.block_matrices, head),
        };
        let name = "bfloat16 gradients and casts";
        self.add(name, Place::Device, |moment| match moment {
            // Those that generate are an item of their own.
            Moment::Sampling | Moment::Answering => Vec::new(),
            Moment::Scoring if job.copies => vec![[cast_head, 1]],
            Moment::Scoring => vec![[matrix, 1], [head, 1]],
            // The head, and its gradient before it is float32.
            Moment::Head if of_blocks == 1 => vec![[cast_head, 1], [head, 1]],
            Moment::Head => vec![[block, of_blocks], [cast_head, 1], [head, 1]],
            Moment::LastBlock => vec![[block, of_blocks], [matrix, 1]],
            Moment::FirstBlock => vec![[block, 1], [matrix, 1]],
            Moment::Embedding | Moment::Step | Moment::Save => Vec::new(),
        });
    }

    /// Bytes of a frozen number: they stay as they are in their file where blocks compute in that, else
    /// they are float32.
    pub(super) fn kept(&self) -> u64 {
        match self.job.stored == self.job.compute {
            true => self.number(),
            false => 4,
        }
    }

    /// Numbers of the matrices that copies are kept of.
    pub(super) fn copied(&self) -> u64 {
        let job = self.job;
        match job.trained {
            Trained::All => {
                let layers = job.config.num_hidden_layers as u64;
                let head = job.counts.embedding * u64::from(job.trains_head());
                layers * job.counts.block_matrices + head
            }
            Trained::Adapters { .. } => job.num_trained(),
        }
    }

    /// Whether what trains are float32 matrices, and blocks compute in copies of them.
    pub(super) fn casts(&self) -> bool {
        self.job.trained == Trained::All && self.job.compute != Number::Float32
    }

    /// Whether the head is one of them. A frozen embedding that is tied is there in these numbers
    /// already, or is cast as well.
    pub(super) fn casts_head(&self) -> bool {
        self.job.trains_head() || self.kept() != self.number()
    }
}
