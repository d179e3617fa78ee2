//! The keys that take one word out of a list. Each enum's words are written once, here: parsing,
//! error messages, the resolved recipe and the command line's help all read them.

use serde::{Deserialize, Serialize};

macro_rules! choices {
    ($(
        $(#[$attribute:meta])*
        pub enum $name:ident { $($(#[$variant_attribute:meta])* $variant:ident = $word:literal,)+ }
    )+) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_attribute])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every word a recipe may write, in the order of the variants.
            pub const NAMES: &'static [&'static str] = &[$($word),+];

            /// The word a recipe writes.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { word: word.to_owned(), allowed: Self::NAMES }),
                }
            }
        }
    )+};
}

/// A word that is not in the list of a choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not one of {}", allowed.join(", "))]
pub struct UnknownWord {
    /// The word that was given.
    pub word: String,
    /// The words that are allowed.
    pub allowed: &'static [&'static str],
}

choices! {
    /// The four stages, in the order in which they are run.
    pub enum StageName {
        /// Continued pre-training on documents and translation pairs.
        Cpt = "cpt",
        /// Supervised fine-tuning on conversations.
        Sft = "sft",
        /// Preference optimization on chosen and rejected answers.
        Po = "po",
        /// Reinforcement learning with verifiable rewards.
        Rl = "rl",
    }

    /// The number format of the computation. Master weights are float32 whatever it is.
    pub enum Dtype {
        /// bfloat16 on CUDA, float32 elsewhere.
        Auto = "auto",
        /// float32 throughout, without TF32.
        Float32 = "float32",
        /// bfloat16, with float32 in norms, softmax and losses.
        Bfloat16 = "bfloat16",
    }

    /// How the learning rate moves after warm-up.
    pub enum LrSchedulerType {
        /// Stays at `learning_rate`.
        Constant = "constant",
        /// Falls on a straight line to `min_lr_ratio`.
        Linear = "linear",
        /// Falls on half a cosine to `min_lr_ratio`.
        Cosine = "cosine",
        /// Stays, then falls to `min_lr_ratio` over the last `decay_ratio` of the steps.
        WarmupStableDecay = "warmup_stable_decay",
        /// Falls with one over the square root of the step.
        InverseSqrt = "inverse_sqrt",
    }

    /// What to do with a data line that cannot be used.
    pub enum OnBadRecord {
        /// Stop and say where the line is and what is wrong with it.
        Error = "error",
        /// Leave the line out, count it by reason and show the counts.
        Skip = "skip",
    }

    /// The optimizer.
    pub enum Optim {
        /// AdamW with float32 moments: eight bytes a parameter.
        AdamwTorch = "adamw_torch",
        /// AdamW with block-wise moments of eight bits for every parameter of 4,096 values or more:
        /// two bytes a parameter.
        Adamw8bit = "adamw_8bit",
    }

    /// What to do when a loss or a gradient norm is not finite.
    pub enum OnNonfinite {
        /// Stop the run.
        Stop = "stop",
        /// Leave out the optimizer step and go on.
        Skip = "skip",
        /// Go back to the newest checkpoint and on with other records.
        Rollback = "rollback",
    }

    /// What to do when the watched metric falls while the reward rises.
    pub enum OnWatch {
        /// Raise an alert.
        Alert = "alert",
        /// End the run too.
        Stop = "stop",
        /// Go back to the checkpoint of the best evaluation too, and on with other records.
        Rollback = "rollback",
    }

    /// Who else is told of a run's metrics.
    pub enum ReportTo {
        /// TensorBoard, through event files in the run's folder `tensorboard/`.
        Tensorboard = "tensorboard",
        /// Prometheus, through the run's file `metrics.prom`.
        Prometheus = "prometheus",
    }

    /// The assistant turns that are trained on.
    pub enum TrainTurns {
        /// Every assistant turn of a conversation.
        All = "all",
        /// The last assistant turn.
        Last = "last",
    }

    /// What a supervised token costs: see [`losses::SupervisedLoss`].
    pub enum SftLossType {
        /// Negative log-likelihood.
        Nll = "nll",
        /// Dynamic fine-tuning: the same, times the token's probability (arXiv 2508.05629).
        Dft = "dft",
    }

    /// Whether a run looks at its data before the first step.
    pub enum Preflight {
        /// Look, and say what seems wrong.
        Warn = "warn",
        /// Look, and stop where anything seems wrong.
        Strict = "strict",
        /// Do not look.
        Off = "off",
    }

    /// The loss of a preference pair: see [`losses::preference`].
    pub enum PreferenceLossType {
        /// DPO.
        Sigmoid = "sigmoid",
        /// DPO of the margin of the means over tokens (Tülu 3).
        SigmoidNorm = "sigmoid_norm",
        /// SLiC's hinge.
        Hinge = "hinge",
        /// IPO.
        Ipo = "ipo",
        /// Robust DPO, against a share `label_smoothing` of flipped labels.
        Robust = "robust",
        /// EXO, with labels smoothed by `label_smoothing`.
        ExoPair = "exo_pair",
        /// NCA.
        NcaPair = "nca_pair",
        /// BCO on pairs.
        BcoPair = "bco_pair",
        /// SPPO with hard labels.
        SppoHard = "sppo_hard",
        /// AOT on pairs.
        Aot = "aot",
        /// AOT on chosen and rejected answers by themselves.
        AotUnpaired = "aot_unpaired",
        /// APO-zero.
        ApoZero = "apo_zero",
        /// APO-down.
        ApoDown = "apo_down",
        /// DiscoPOP.
        Discopop = "discopop",
        /// Cross-entropy of the chosen answers.
        Sft = "sft",
        /// KTO, each answer by itself.
        Kto = "kto",
        /// APO-zero, each answer by itself.
        ApoZeroUnpaired = "apo_zero_unpaired",
        /// CPO.
        Cpo = "cpo",
        /// CPO with the hinge.
        CpoHinge = "cpo_hinge",
        /// CPO with IPO's square.
        CpoIpo = "cpo_ipo",
        /// SimPO.
        Simpo = "simpo",
        /// SimPO of AlphaPO's rewards, without cross-entropy.
        Alphapo = "alphapo",
        /// ORPO.
        Orpo = "orpo",
        /// ARPO, of X-ALMA.
        Arpo = "arpo",
    }

    /// The divergence that holds the policy to its reference.
    pub enum FDivergenceType {
        /// KL(policy || reference): plain DPO.
        ReverseKl = "reverse_kl",
        /// KL(reference || policy).
        ForwardKl = "forward_kl",
        /// Jensen-Shannon.
        JsDivergence = "js_divergence",
        /// The alpha-divergence of `f_alpha_divergence_coef`.
        AlphaDivergence = "alpha_divergence",
    }

    /// What the backward pass computes again instead of keeping it.
    pub enum GradientCheckpointing {
        /// Blocks, where the model has a billion parameters or more.
        Auto = "auto",
        /// Each block, from its input.
        True = "true",
        /// Nothing.
        False = "false",
    }

    /// A linear layer of a block, or all of them.
    pub enum LoraTarget {
        /// The seven that follow.
        AllLinear = "all-linear",
        /// Queries.
        QProj = "q_proj",
        /// Keys.
        KProj = "k_proj",
        /// Values.
        VProj = "v_proj",
        /// What attention puts out.
        OProj = "o_proj",
        /// The gate of the feed-forward layer.
        GateProj = "gate_proj",
        /// What the gate lets through.
        UpProj = "up_proj",
        /// What the feed-forward layer puts out.
        DownProj = "down_proj",
    }

    /// What is done with the ratios of a step's completions, and how their tokens are averaged.
    pub enum PolicyLossType {
        /// Clipped; the mean over each completion's tokens, then over completions.
        Grpo = "grpo",
        /// Clipped; the mean over all tokens of the step.
        Dapo = "dapo",
        /// The same: TRL's takes the mean over a micro-batch, which would depend on the split.
        Bnpo = "bnpo",
        /// Clipped; the sum over tokens / (completions * `max_completion_length`).
        DrGrpo = "dr_grpo",
        /// Clipped; the sum over each completion's tokens, then the mean over completions.
        Luspo = "luspo",
        /// CISPO: the ratio as a constant weight, at most `epsilon_high`; the mean over all tokens.
        Cispo = "cispo",
        /// SAPO: a soft gate in place of the clip; averaged as grpo.
        Sapo = "sapo",
        /// VESPO: a smooth weight of whole completions in place of the clip; the mean over all tokens.
        Vespo = "vespo",
        /// RLOO: leave-one-out advantages, the ratio of whole completions, KL in the reward.
        Rloo = "rloo",
    }

    /// What the ratio to the policy that sampled is taken of.
    pub enum ImportanceSamplingLevel {
        /// Each token.
        Token = "token",
        /// Each completion, as the geometric mean over its tokens (GSPO).
        Sequence = "sequence",
    }

    /// How several rewards become one advantage.
    pub enum MultiObjectiveAggregation {
        /// Their weighted sum, against its group.
        SumThenNormalize = "sum_then_normalize",
        /// Each against its group, then the weighted sum (GDPO).
        NormalizeThenSum = "normalize_then_sum",
    }

    /// How the divergence from the reference is estimated.
    pub enum KlEstimator {
        /// log p - log p_ref.
        K1 = "k1",
        /// Half its square.
        K2 = "k2",
        /// exp(d) - d - 1, with d = log p_ref - log p.
        K3 = "k3",
        /// The value of k1 with the gradient of k2, which is that of the divergence itself.
        K1Plus = "k1+",
        /// The value of k3 with the gradient of k2.
        K3Plus = "k3+",
    }

    /// The standard deviation that divides an advantage.
    pub enum ScaleRewards {
        /// That of the completions of the same prompt.
        Group = "group",
        /// That of all completions of the set.
        Batch = "batch",
        /// None: advantages are centred only.
        None = "none",
    }
}

impl StageName {
    /// The stages in the order in which they are run.
    pub const ALL: [Self; 4] = [Self::Cpt, Self::Sft, Self::Po, Self::Rl];
}

#[cfg(test)]
mod tests {
    use super::{Dtype, LrSchedulerType, StageName};

    #[test]
    fn a_word_parses_back_to_its_variant() {
        for stage in StageName::ALL {
            assert_eq!(stage.as_str().parse(), Ok(stage));
        }
        for word in LrSchedulerType::NAMES {
            assert_eq!(
                word.parse::<LrSchedulerType>()
                    .expect("a listed word")
                    .as_str(),
                *word
            );
        }
    }

    #[test]
    fn an_unknown_word_is_told_the_allowed_ones() {
        let error = "fp8".parse::<Dtype>().expect_err("no such dtype");
        assert_eq!(
            error.to_string(),
            "`fp8` is not one of auto, float32, bfloat16"
        );
    }
}
