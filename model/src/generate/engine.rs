use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use kernels::{CacheRows, Sampled, Segments, device, sample};

use super::sampling::{SamplingOptions, sequence_key, uniform};
use super::{Completion, FinishReason, Request};
use crate::{CausalLm, KvCache};

/// How to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// How a token is chosen.
    pub sampling: SamplingOptions,
    /// Tokens that end a completion.
    pub stop_tokens: Vec<u32>,
    /// Sequences decoded at a time.
    pub max_batch_size: usize,
}

/// Completes every request; results are in the order of the requests.
///
/// `should_stop` is asked between steps; where it says so, what is there so far is dropped and
/// `None` comes back.
///
/// # Panics
/// On an empty prompt or a `max_batch_size` of zero.
pub fn generate(
    model: &CausalLm,
    requests: &[Request],
    options: &GenerateOptions,
    should_stop: &dyn Fn() -> bool,
) -> Option<Vec<Completion>> {
    assert!(options.max_batch_size > 0, "a batch of no sequences");
    let mut engine = Engine::new(model, requests, options);
    while engine.advance() {
        if should_stop() {
            return None;
        }
    }
    let completions = engine.finished.into_iter();
    Some(completions.map(|c| c.expect("every request ran")).collect())
}

struct Engine<'a> {
    model: CausalLm,
    requests: &'a [Request],
    options: &'a GenerateOptions,
    cache: KvCache,
    waiting: VecDeque<usize>,
    /// What each slot is doing.
    slots: Vec<Slot>,
    /// The logits after each prompt that waiting requests may still ask for.
    prompt_logits: HashMap<Arc<[u32]>, PromptLogits>,
    finished: Vec<Option<Completion>>,
}

struct PromptLogits {
    /// `[1, vocab]`, without their soft-cap; absent until the prompt has run.
    logits: Option<Tensor<2>>,
    /// Requests with this prompt that have not begun.
    waiting: usize,
}

#[derive(Default)]
struct Slot {
    /// The prompt whose keys and values its first rows hold, also after its sequence ended.
    holds: Option<Arc<[u32]>>,
    sequence: Option<Sequence>,
}

struct Sequence {
    request: usize,
    key: u64,
    /// Tokens in the cache.
    length: usize,
    completion: Completion,
}

impl<'a> Engine<'a> {
    fn new(model: &CausalLm, requests: &'a [Request], options: &'a GenerateOptions) -> Self {
        let model = model.for_generation();
        let longest = requests
            .iter()
            .map(|request| request.prompt.len() + request.max_new_tokens)
            .max()
            .unwrap_or(1);
        // One row more than is ever used, for the idle slots' writes.
        let capacity = (longest + 1).next_multiple_of(64);
        let slots = if device::is_cpu(model.device()) {
            options.max_batch_size.min(requests.len()).max(1)
        } else {
            options.max_batch_size
        };
        let cache = KvCache::new(
            model.config(),
            slots,
            capacity,
            model.dtype(),
            model.device(),
        );
        let mut prompt_logits: HashMap<Arc<[u32]>, PromptLogits> = HashMap::new();
        for request in requests {
            assert!(!request.prompt.is_empty(), "an empty prompt");
            let entry = prompt_logits.entry(request.prompt.clone());
            let entry = entry.or_insert(PromptLogits {
                logits: None,
                waiting: 0,
            });
            entry.waiting += 1;
        }
        Engine {
            model,
            requests,
            options,
            cache,
            waiting: (0..requests.len()).collect(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            prompt_logits,
            finished: vec![None; requests.len()],
        }
    }

    /// Lets waiting requests in, then generates one token for every sequence. False when all is
    /// done.
    fn advance(&mut self) -> bool {
        self.admit();
        if self.slots.iter().all(|slot| slot.sequence.is_none()) {
            return !self.waiting.is_empty();
        }
        self.decode();
        true
    }

    fn admit(&mut self) {
        let mut free: VecDeque<usize> = (0..self.slots.len())
            .filter(|&slot| self.slots[slot].sequence.is_none())
            .collect();
        let mut entering = Vec::new();
        while let (Some(&request), false) = (self.waiting.front(), free.is_empty()) {
            self.waiting.pop_front();
            let prompt = &self.requests[request].prompt;
            // A slot that held this prompt before needs no copy.
            let holder = free
                .iter()
                .position(|&slot| self.slots[slot].holds.as_ref() == Some(prompt));
            let slot = free.remove(holder.unwrap_or(0)).expect("a slot is free");
            entering.push((request, slot));
        }
        self.prefill(&entering);
        self.begin(&entering);
    }

    /// Runs the prompts that no slot holds, each once, and gives every entering slot its rows.
    fn prefill(&mut self, entering: &[(usize, usize)]) {
        let mut ids = Vec::new();
        let mut lengths = Vec::new();
        let mut new_slots = Vec::new();
        let mut copies = Vec::new();
        for &(request, slot) in entering {
            let prompt = &self.requests[request].prompt;
            if self.slots[slot].holds.as_ref() == Some(prompt) {
                continue;
            }
            let holder = self
                .slots
                .iter()
                .position(|other| other.holds.as_ref() == Some(prompt));
            match holder {
                Some(holder) => copies.push((holder, slot, prompt.len())),
                None => {
                    ids.extend_from_slice(prompt);
                    lengths.push(prompt.len());
                    new_slots.push(slot);
                }
            }
            self.slots[slot].holds = Some(prompt.clone());
        }
        if !new_slots.is_empty() {
            let segments = Segments::from_lengths(&lengths);
            let ids = ids.into();
            let hidden = self
                .model
                .prefill(&ids, &segments, &new_slots, &mut self.cache);
            let last: Vec<i32> = segments
                .ranges()
                .map(|range| range.end as i32 - 1)
                .collect();
            let last = TensorData::new(last, [new_slots.len()]);
            let last = Tensor::from_data(last, self.model.device());
            let logits = self.model.uncapped_logits(hidden.select(0, last));
            for (row, slot) in new_slots.into_iter().enumerate() {
                let prompt = self.slots[slot].holds.as_ref().expect("just set");
                let entry = self.prompt_logits.get_mut(prompt).expect("not yet begun");
                entry.logits = Some(logits.clone().narrow(0, row, 1));
            }
        }
        for (from, to, length) in copies {
            self.cache.copy(from, to, length);
        }
    }

    /// Samples the first token of each entering request, from the logits after its prompt.
    fn begin(&mut self, entering: &[(usize, usize)]) {
        let mut sampled = Vec::new();
        let (mut logits, mut uniforms) = (Vec::new(), Vec::new());
        for &(request, slot) in entering {
            let Request {
                prompt,
                index,
                max_new_tokens,
            } = &self.requests[request];
            let sequence = Sequence {
                request,
                key: sequence_key(self.options.sampling.seed, prompt, *index),
                length: prompt.len(),
                completion: Completion {
                    tokens: Vec::new(),
                    logprobs: Vec::new(),
                    model_logprobs: Vec::new(),
                    finish_reason: FinishReason::Length,
                },
            };
            let entry = self.prompt_logits.get_mut(prompt).expect("not yet begun");
            if *max_new_tokens == 0 {
                self.finished[request] = Some(sequence.completion);
            } else {
                logits.push(entry.logits.clone().expect("the prompt has run"));
                uniforms.push(uniform(sequence.key, 0));
                self.slots[slot].sequence = Some(sequence);
                sampled.push(slot);
            }
            entry.waiting -= 1;
            if entry.waiting == 0 {
                self.prompt_logits.remove(prompt);
            }
        }
        if !sampled.is_empty() {
            let chosen = self.choose(Tensor::cat(logits, 0), uniforms);
            for (slot, token) in sampled.into_iter().zip(chosen) {
                self.take(slot, token);
            }
        }
    }

    fn choose(&self, logits: Tensor<2>, uniforms: Vec<f64>) -> Vec<Sampled> {
        let SamplingOptions {
            temperature,
            top_k,
            top_p,
            seed: _,
        } = self.options.sampling;
        let softcap = self.model.config().final_logit_softcapping;
        let options = kernels::SamplingOptions {
            temperature,
            top_k,
            top_p,
            softcap: softcap.map(|cap| cap as f32),
        };
        sample(logits, &uniforms.into(), options)
    }

    fn decode(&mut self) {
        // The CPU runs the busy slots; a device whose matmul may look at the number of rows always
        // runs all of them, the idle ones writing to the row that nothing reads.
        let only_busy = device::is_cpu(self.model.device());
        let idle_row = self.cache.capacity() - 1;
        let mut slots = Vec::new();
        let (mut ids, mut positions, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for (index, slot) in self.slots.iter().enumerate() {
            match &slot.sequence {
                Some(sequence) => {
                    let tokens = &sequence.completion.tokens;
                    ids.push(*tokens.last().expect("a sequence begins with a token"));
                    positions.push(sequence.length as u32);
                    lengths.push(sequence.length + 1);
                }
                None if only_busy => continue,
                None => {
                    ids.push(0);
                    positions.push(idle_row as u32);
                    lengths.push(1);
                }
            }
            slots.push(index);
        }
        let rows = CacheRows {
            slots: slots.clone().into(),
            lengths: lengths.into(),
        };
        let hidden = self
            .model
            .decode(&ids.into(), rows, positions.into(), &mut self.cache);
        let uniforms = slots
            .iter()
            .map(|&slot| match &self.slots[slot].sequence {
                Some(sequence) => uniform(sequence.key, sequence.completion.tokens.len()),
                None => 0.0,
            })
            .collect();
        let sampled = self.choose(self.model.uncapped_logits(hidden), uniforms);
        for (slot, sampled) in slots.into_iter().zip(sampled) {
            if let Some(sequence) = &mut self.slots[slot].sequence {
                sequence.length += 1;
                self.take(slot, sampled);
            }
        }
    }

    /// Appends a token to a slot's sequence, which leaves where that ends it.
    fn take(&mut self, slot: usize, sampled: Sampled) {
        let state = &mut self.slots[slot].sequence;
        let sequence = state.as_mut().expect("the slot is busy");
        let completion = &mut sequence.completion;
        completion.tokens.push(sampled.token);
        completion.logprobs.push(sampled.logprob);
        completion.model_logprobs.push(sampled.model_logprob);
        let stopped = self.options.stop_tokens.contains(&sampled.token);
        if stopped {
            completion.finish_reason = FinishReason::Stop;
        }
        let request = sequence.request;
        if stopped || completion.tokens.len() == self.requests[request].max_new_tokens {
            let sequence = state.take().expect("the slot is busy");
            self.finished[request] = Some(sequence.completion);
        }
    }
}
