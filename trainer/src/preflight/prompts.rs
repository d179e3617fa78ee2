use std::collections::HashSet;

use model::CausalLm;
use model::generate::SamplingOptions;
use telemetry::Clock;
use tui::format;

use super::sequences::{Unusable, warn_of_duplicates};
use super::{Findings, MAX_RECORDS, model_files, spread};
use crate::TrainError;
use crate::recipe::RlSettings;
use crate::rollout::{Group, Prompt, Prompts, Sampler, rollout_metrics};

/// Prompts that are answered.
const PROBED_PROMPTS: usize = 8;
/// From this share on, most of what is sampled teaches nothing.
const MOST: f64 = 0.5;
/// From this share of prompts on, those that are too long are no exception.
const MANY_TOO_LONG: f64 = 0.01;

/// What reinforcement learning will ask.
pub fn look_at_prompts(prompts: &Prompts) -> Findings {
    let total = prompts.len() + prompts.num_too_long();
    let mut findings = Findings::of([total, prompts.len().min(MAX_RECORDS)]);
    let mut lengths = Vec::new();
    let mut distinct = HashSet::new();
    let mut unusable = Unusable::default();
    for index in spread(prompts.len(), MAX_RECORDS) {
        match prompts.get(index) {
            Ok(prompt) => {
                distinct.insert((prompt.ids.clone(), prompt.args.to_string()));
                lengths.push(prompt.ids.len());
            }
            Err(error) => unusable.add(&error.to_string()),
        }
    }
    let duplicates = lengths.len() - distinct.len();
    let seen = findings.num_records[1];
    findings.lengths("prompt tokens", lengths);
    findings.count(
        "longer than max_prompt_length",
        prompts.num_too_long(),
        total,
    );
    findings.count("duplicates", duplicates, seen);
    unusable.report(&mut findings);
    findings.warn_from(
        MANY_TOO_LONG,
        prompts.num_too_long(),
        total,
        "prompts are longer than max_prompt_length and left out",
        "raise max_prompt_length",
    );
    warn_of_duplicates(&mut findings, duplicates);
    findings
}

/// A few prompts, spread over all of them, that the model answers before it is trained.
pub struct Probe<'a> {
    /// Where they are taken from.
    pub prompts: &'a Prompts,
    /// What answers and judges.
    pub sampler: &'a Sampler,
    /// How.
    pub settings: &'a RlSettings,
}

impl Probe<'_> {
    /// What is to be said of the prompts, of the model's files and of its answers. The seed is the
    /// probe's own, so training draws the numbers that it would draw without.
    ///
    /// # Errors
    /// A prompt cannot be read or a completion not be decoded.
    pub fn run(
        &self,
        model: &CausalLm,
        clock: &dyn Clock,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Findings, TrainError> {
        let mut findings = look_at_prompts(self.prompts);
        let tokenizer = self.prompts.chat().tokenizer();
        model_files(&mut findings, model.config(), tokenizer);
        let asked = spread(self.prompts.len(), PROBED_PROMPTS)
            .map(|index| self.prompts.get(index))
            .collect::<Result<Vec<Prompt>, _>>()?;
        let sampling = SamplingOptions {
            temperature: self.settings.temperature,
            top_k: self.settings.top_k,
            top_p: self.settings.top_p,
            seed: 0,
        };
        let began = clock.elapsed();
        let num = self.settings.num_generations;
        let groups = self
            .sampler
            .sample(model, asked, num, sampling, should_stop)?;
        if let Some(groups) = groups {
            let seconds = (clock.elapsed() - began).as_secs_f64();
            judge(&mut findings, &groups, seconds);
        }
        Ok(findings)
    }
}

fn judge(findings: &mut Findings, groups: &[Group], seconds: f64) {
    let metrics = rollout_metrics(groups);
    let rollouts = || groups.iter().flat_map(|group| &group.rollouts);
    let answers = rollouts().count();
    let tokens: usize = rollouts().map(|r| r.completion.tokens.len()).sum();
    let cut = rollouts().filter(|rollout| !rollout.finished()).count();
    let zero = rollouts()
        .filter(|rollout| rollout.reward.total == Some(0.0))
        .count();
    let equal = |group: &&Group| {
        let first = group.rollouts[0].reward.total;
        group.rollouts.iter().all(|r| r.reward.total == first)
    };
    let same = groups.iter().filter(equal).count();
    let lengths = rollouts().map(|r| r.completion.tokens.len()).collect();
    findings.lengths("answer tokens", lengths);
    let reward = metrics.scalar("reward").unwrap_or(f64::NAN);
    findings.number("mean reward of the probe", reward, format!("{reward:.3}"));
    findings.count("prompts of equal rewards", same, groups.len());
    findings.count("answers of reward 0", zero, answers);
    findings.count("answers cut off", cut, answers);
    let rate = tokens as f64 / seconds;
    findings.number("sampled tokens a second", rate, format::amount(rate));
    findings.warn_from(
        MOST,
        cut,
        answers,
        "probed answers are cut off at max_completion_length, so what ends them is not learnt",
        "raise max_completion_length, or check with `trainer generate` that the model stops",
    );
    let hint = match zero == answers {
        true => {
            "the task is too hard, or no answer has the form that its verifier wants: see \
             `trainer generate`, or fine-tune first"
        }
        false => "choose prompts of other difficulty, or raise num_generations",
    };
    findings.warn_from(
        MOST,
        same,
        groups.len(),
        "probed prompts have answers of one and the same reward, which gives them no gradient",
        hint,
    );
}
