//! The keys that only some stages use. A key may be here more than once, with another meaning,
//! range or default: `beta` scales a preference in PO and a divergence in RL.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::PathBuf;

use serde_json::Map;

use super::choices::{
    FDivergenceType, ImportanceSamplingLevel, KlEstimator, MultiObjectiveAggregation, OnWatch,
    PolicyLossType, PreferenceLossType, ScaleRewards, SftLossType,
    StageName::{self, Cpt, Po, Rl, Sft},
    TrainTurns,
};
use super::kind::{Kind, MAX_COUNT};
use super::schema::{Spec, boolean, choice, choices, float, integer, settings};

const LABEL_SMOOTHING_ALIASES: &[&str] = &["label_smoothing_factor"];
const MAX_LENGTH_ALIASES: &[&str] = &["cutoff_len", "sequence_len", "max_seq_length"];

/// The settings of the one stage a recipe is for.
#[expect(clippy::large_enum_variant, reason = "a recipe has one")]
#[derive(Debug, Clone, PartialEq)]
pub enum StageSettings {
    /// Continued pre-training.
    Cpt(CptSettings),
    /// Supervised fine-tuning.
    Sft(SftSettings),
    /// Preference optimization.
    Po(PoSettings),
    /// Reinforcement learning.
    Rl(RlSettings),
}

impl StageSettings {
    /// The stage.
    pub const fn name(&self) -> StageName {
        match self {
            Self::Cpt(_) => Cpt,
            Self::Sft(_) => Sft,
            Self::Po(_) => Po,
            Self::Rl(_) => Rl,
        }
    }
}

settings! {
    /// Continued pre-training.
    pub struct CptSettings in "Continued pre-training" of &[Cpt] => {
        /// Tokens in a packed row, and in the longest sequence.
        max_length: usize = integer(2, MAX_COUNT).default("4096").aliases(MAX_LENGTH_ALIASES);
        /// Fill rows of max_length tokens with whole sequences; per_device_train_batch_size counts
        /// the rows.
        packing: bool = boolean().default("true").aliases(&["sample_packing"]);
        /// Share of each target's weight that is spread over the whole vocabulary.
        label_smoothing: f64 =
            float(Included(0.0), Excluded(1.0)).default("0.0").aliases(LABEL_SMOOTHING_ALIASES);
        /// Weight of the squared logsumexp of the logits, a mean over supervised tokens; PaLM's is
        /// 1e-4.
        z_loss: f64 = float(Included(0.0), Unbounded).default("0.0").aliases(&["z_loss_weight"]);
        /// Held-out records that the model answers greedily at each evaluation, for chrF and BLEU by
        /// language pair: translation pairs, broken off before the
        /// translation. 0 generates nothing.
        eval_generate: usize = integer(0, MAX_COUNT).default("0");
        /// Tokens after which an answer of eval_generate is cut off.
        eval_max_new_tokens: usize = integer(1, MAX_COUNT).default("256");
    }
}

settings! {
    /// Supervised fine-tuning.
    pub struct SftSettings in "Supervised fine-tuning" of &[Sft] => {
        /// Tokens in the longest conversation, and in a packed row.
        max_length: usize = integer(2, MAX_COUNT).default("4096").aliases(MAX_LENGTH_ALIASES);
        /// Fill rows of max_length tokens with whole conversations; per_device_train_batch_size
        /// counts the rows.
        packing: bool = boolean().default("false").aliases(&["sample_packing"]);
        /// The assistant turns that are trained on.
        train_turns: TrainTurns = choice(TrainTurns::NAMES).default("'all'");
        /// What a supervised token costs: nll is -log p, dft weighs that by p (arXiv 2508.05629).
        loss_type: SftLossType = choice(SftLossType::NAMES).default("'nll'");
        /// Share of each target's weight that is spread over the whole vocabulary.
        label_smoothing: f64 =
            float(Included(0.0), Excluded(1.0)).default("0.0").aliases(LABEL_SMOOTHING_ALIASES);
        /// Weight of the squared logsumexp of the logits, a mean over supervised tokens; PaLM's is
        /// 1e-4.
        z_loss: f64 = float(Included(0.0), Unbounded).default("0.0").aliases(&["z_loss_weight"]);
        /// NEFTune: noise of this size over the root of (tokens * width) is added to the embeddings
        /// in training; 5 to 15 in its paper, 0 adds none.
        neftune_noise_alpha: f64 = float(Included(0.0), Unbounded).default("0.0");
        /// Held-out records that the model answers greedily at each evaluation, for chrF and BLEU by
        /// language pair: translation pairs, and conversations that end with
        /// the assistant. 0 generates nothing.
        eval_generate: usize = integer(0, MAX_COUNT).default("0");
        /// Tokens after which an answer of eval_generate is cut off.
        eval_max_new_tokens: usize = integer(1, MAX_COUNT).default("256");
    }
}

settings! {
    /// Preference optimization. The defaults are WPO's own (arXiv 2406.11827, `wzhouad/WPO`).
    pub struct PoSettings in "Preference optimization" of &[Po] => {
        /// Tokens in the longest prompt with one of its answers.
        max_length: usize = integer(2, MAX_COUNT).default("2048").aliases(MAX_LENGTH_ALIASES);
        /// The scale of a pair's margin: how strongly the policy is held to the reference.
        beta: f64 = float(Excluded(0.0), Unbounded).default("0.01");
        /// The loss of a pair, or several that are added up. sigmoid is DPO's, and WPO's with
        /// use_weighting; cpo, simpo, orpo and arpo need no reference. kto and apo_zero_unpaired also
        /// take single answers with a label.
        loss_type: Vec<PreferenceLossType> =
            choices(PreferenceLossType::NAMES).default("['sigmoid']");
        /// Weight of each loss of loss_type; none, and each weighs 1.
        loss_weights: Vec<f64> = Spec::new(Kind::Numbers).default("[]");
        /// Share of pairs taken to be the wrong way round.
        label_smoothing: f64 = float(Included(0.0), Excluded(0.5)).default("0.0");
        /// Weigh each pair by how likely the policy is to write it (WPO); false is plain DPO. Where
        /// loss_type names kto, cpo, simpo, alphapo, orpo, arpo, aot or what takes single answers, it
        /// is false unless it is given.
        use_weighting: bool = boolean().default("true");
        /// Clamp a pair's weight at 1, as WPO's authors do; TRL does not.
        weighting_clamp: bool = boolean().default("true");
        /// The divergence that holds the policy to its reference.
        f_divergence_type: FDivergenceType =
            choice(FDivergenceType::NAMES).default("'reverse_kl'");
        /// Alpha of alpha_divergence.
        f_alpha_divergence_coef: f64 = float(Unbounded, Unbounded).default("0.5");
        /// LD-DPO: the tokens that the longer answer of a pair has over the shorter weigh this.
        ld_alpha: f64 = float(Included(0.0), Included(1.0)).default("1.0");
        /// Weight of the chosen answers' cross-entropy beside cpo, simpo, orpo and arpo.
        cpo_alpha: f64 = float(Included(0.0), Unbounded).default("1.0");
        /// Weight of the chosen answers' cross-entropy beside the other losses.
        rpo_alpha: f64 = float(Included(0.0), Unbounded).default("0.0");
        /// SimPO's target margin.
        simpo_gamma: f64 = float(Included(0.0), Unbounded).default("0.5");
        /// AlphaPO's bend of the reward in alphapo, simpo and cpo_ipo, which take means:
        /// (1 - p^(-alpha)) / alpha in place of log p, which is 0's.
        alpha: f64 = float(Unbounded, Unbounded).default("0.0");
        /// DiscoPOP's temperature.
        discopop_tau: f64 = float(Excluded(0.0), Unbounded).default("0.05");
        /// KTO's weight of chosen answers, and of single ones whose label is true.
        desirable_weight: f64 = float(Included(0.0), Unbounded).default("1.0");
        /// KTO's weight of rejected answers, and of single ones whose label is false.
        undesirable_weight: f64 = float(Included(0.0), Unbounded).default("1.0");
        /// Held-out records that the model answers greedily at each evaluation, for chrF and BLEU by
        /// language pair: the chosen answers are taken to be right. 0 generates nothing.
        eval_generate: usize = integer(0, MAX_COUNT).default("0");
        /// Tokens after which an answer of eval_generate is cut off.
        eval_max_new_tokens: usize = integer(1, MAX_COUNT).default("256");
    }
}

settings! {
    /// Reinforcement learning with verifiable rewards.
    pub struct RlSettings in "Reinforcement learning" of &[Rl] => {
        /// Completions of each prompt.
        num_generations: usize = integer(2, MAX_COUNT).default("8");
        /// The completions of so many optimizer steps are sampled at once, and each of these steps trains
        /// on its own part of the set; the ratios are to the policy that sampled.
        num_mini_batches: usize = integer(1, MAX_COUNT).default("1");
        /// How often a set of completions is gone through, in num_mini_batches optimizer steps each time.
        num_iterations: usize = integer(1, MAX_COUNT).default("1");
        /// Sample the completions of the next set on a second thread while the last step on a set
        /// trains, with the weights from before that step, which the ratios then are to. The same bits
        /// each time, but not those of a run without; one more copy of the weights that train. The last
        /// step draws a set too, so that a run that goes on with more steps has the bits of a longer one.
        one_step_off_policy: bool = boolean().default("false");
        /// Tokens in the longest prompt.
        max_prompt_length: usize = integer(1, MAX_COUNT).default("512");
        /// Tokens after which a completion is cut off.
        max_completion_length: usize = integer(1, MAX_COUNT).default("512");
        /// Divides the logits, in sampling and in training alike.
        temperature: f64 = float(Excluded(0.0), Unbounded).default("1.0");
        /// Sample from the likeliest tokens that together have this probability; 1 is all of them.
        top_p: f64 = float(Excluded(0.0), Included(1.0)).default("1.0");
        /// Sample from this many likeliest tokens; 0 is all of them.
        top_k: usize = integer(0, MAX_COUNT).default("0");
        /// The ratio of a token's probabilities is clipped below at 1 - epsilon.
        epsilon: f64 = float(Excluded(0.0), Excluded(1.0)).default("0.2");
        /// The ratio is clipped above at 1 + epsilon_high: epsilon unless given, 0.28 in DAPO. With
        /// cispo it is the bound itself, such as 5.0.
        epsilon_high: f64 = float(Excluded(0.0), Unbounded).like("epsilon");
        /// A bound on the ratio of completions with a negative advantage too, above
        /// 1 + epsilon_high (verl's dual clip, 3.0 there); unset, there is none.
        delta: Option<f64> = float(Excluded(1.0), Unbounded).aliases(&["clip_ratio_c"]);
        /// What the ratio is taken of. sequence is GSPO, whose epsilon is about 3e-4.
        importance_sampling_level: ImportanceSamplingLevel =
            choice(ImportanceSamplingLevel::NAMES).default("'token'");
        /// What is done with the ratios, and how the token losses of a step are averaged.
        loss_type: PolicyLossType = choice(PolicyLossType::NAMES).default("'dapo'");
        /// SAPO's temperature of positive advantages.
        sapo_temperature_pos: f64 = float(Excluded(0.0), Unbounded).default("1.0");
        /// SAPO's temperature of negative advantages.
        sapo_temperature_neg: f64 = float(Excluded(0.0), Unbounded).default("1.05");
        /// VESPO's power of the ratio of completions with an advantage from 0 on: how fast their weight
        /// falls below a ratio of 1.
        vespo_k_pos: f64 = float(Included(0.0), Unbounded).default("2.0");
        /// VESPO's rate of the exponential there: how fast it falls above 1.
        vespo_lambda_pos: f64 = float(Included(0.0), Unbounded).default("3.0");
        /// VESPO's power for negative advantages.
        vespo_k_neg: f64 = float(Included(0.0), Unbounded).default("3.0");
        /// VESPO's rate for negative advantages.
        vespo_lambda_neg: f64 = float(Included(0.0), Unbounded).default("2.0");
        /// Leave completions of a negative advantage out of the loss, but for KL, where the mean over
        /// their tokens of log p_old - log p is above this (DeepSeek-V3.2); unset, none.
        off_policy_mask_threshold: Option<f64> = float(Included(0.0), Unbounded);
        /// RLOO: divide advantages by their standard deviation over the set.
        normalize_advantages: bool = boolean().default("false");
        /// How several rewards become one advantage.
        multi_objective_aggregation: MultiObjectiveAggregation =
            choice(MultiObjectiveAggregation::NAMES).default("'sum_then_normalize'");
        /// The standard deviation that divides an advantage.
        scale_rewards: ScaleRewards = choice(ScaleRewards::NAMES).default("'group'");
        /// Weight of the KL divergence from the reference; 0 needs no reference.
        beta: f64 = float(Included(0.0), Unbounded).default("0.0");
        /// How that divergence is estimated.
        kl_estimator: KlEstimator = choice(KlEstimator::NAMES).default("'k3'");
        /// Weigh the estimate by the ratio to the policy that sampled, which makes its gradient that
        /// of the divergence itself (DeepSeek-V3.2, arXiv 2512.02556).
        use_bias_correction_kl: bool = boolean().default("true");
        /// Weight of the mean entropy in the objective.
        entropy_coef: f64 = float(Included(0.0), Unbounded).default("0.0");
        /// Have that weight follow the entropy (Skywork-OR1): after a step whose mean is at most
        /// entropy_target it grows by entropy_coef_delta, else it falls by that, and the next step
        /// counts no entropy.
        use_adaptive_entropy: bool = boolean().default("false");
        /// The entropy to keep, in nats a token: of the tokens that top_entropy_quantile leaves. The
        /// metric entropy of the first steps says what is usual.
        entropy_target: f64 = float(Included(0.0), Unbounded).default("0.2");
        /// How much the weight moves in a step.
        entropy_coef_delta: f64 = float(Excluded(0.0), Unbounded).default("0.005");
        /// The least that the weight may become.
        entropy_coef_min: f64 = float(Included(0.0), Unbounded).default("0.0");
        /// The most that the weight may become.
        entropy_coef_max: f64 = float(Included(0.0), Unbounded).default("1.0");
        /// Train on this share of a micro-batch's tokens, those of the highest entropy.
        top_entropy_quantile: f64 = float(Excluded(0.0), Included(1.0)).default("1.0");
        /// Sample other prompts in place of groups whose rewards are all equal (DAPO): this many
        /// times at most, then the set has fewer groups; 0 keeps every group.
        dynamic_sampling: usize = integer(0, 100).default("0");
        /// Conversations that supervised fine-tuning goes on with beside the rewards.
        sft_data: Vec<PathBuf> = Spec::new(Kind::Paths).default("[]");
        /// Weight of their cross-entropy.
        sft_alpha: f64 = float(Included(0.0), Unbounded).default("0.1");
        /// Conversations of sft_data in each step.
        sft_batch_size: usize = integer(1, MAX_COUNT).default("8");
        /// Leave completions that were cut off out of the loss; their rewards count all the same.
        mask_truncated_completions: bool = boolean().default("false");
        /// Names of the reward functions of every prompt, beside each record's own verifiers; none,
        /// and those alone decide. A record's verifier that is named here runs once, with its weight
        /// from reward_weights; 0 switches it off.
        reward_funcs: Vec<String> = Spec::new(Kind::Names).default("[]");
        /// Arguments of those functions by name: { soft_overlong = { cache = 128 } }. A record without a
        /// verifier adds its own.
        reward_args: BTreeMap<String, Map<String, serde_json::Value>> =
            Spec::new(Kind::Arguments).default("{}");
        /// Weight of each reward by name; one that is not listed weighs 1. A list goes by the order
        /// of reward_funcs.
        reward_weights: BTreeMap<String, f64> = Spec::new(Kind::Weights).default("{}");
        /// Prompts of eval_data that each evaluation scores.
        eval_prompts: usize = integer(1, MAX_COUNT).default("64");
        /// A reward function that judges the completions of evaluations and never counts as a
        /// reward, such as chrf beside a learnt metric: watch/NAME in the log.
        watch_metric: Option<String> = Spec::new(Kind::Name);
        /// The alert watched_metric_fell is raised where the watched metric is this much below its
        /// best evaluation and the mean reward of training this much above what it was there.
        watch_tolerance: f64 = float(Included(0.0), Unbounded).default("0.02");
        /// What else that does: alert nothing, stop ends the run, rollback goes back to the
        /// checkpoint of the best evaluation and on with other prompts, three times at most.
        on_watch: OnWatch = choice(OnWatch::NAMES).default("'alert'");
    }
}
