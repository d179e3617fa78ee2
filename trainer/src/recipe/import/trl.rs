//! TRL: the keys of `SFTConfig`, `DPOConfig`, `GRPOConfig`, `ModelConfig` and `ScriptArguments`, and
//! of transformers' `TrainingArguments`, of which the first three are kinds.

use super::carrier::Carrier;
use super::convert;
use super::datasets;
use super::rule::{Default, Row, Rule};
use super::value_of;
use super::yaml::{Item, Yaml};
use crate::recipe::StageName::{self, Cpt, Po, Rl, Sft};
use Rule::{By, Key, NoEquivalent, NotNeeded, Unless, Words};

const ONE_DEVICE: &str = "Keep trains on one device";
const OWN_KERNELS: &str = "Keep has kernels of its own";
const FOLDER: &str = "the model's folder says it";

/// What becomes of TRL's keys. Those that are not here go by their names.
pub(super) const ROWS: &[Row] = &[
    // The model.
    (&["model_name_or_path"], By(convert::model)),
    (&["dtype", "torch_dtype"], By(convert::dtype)),
    (&["bf16"], By(convert::bf16)),
    (&["fp16"], By(convert::fp16)),
    (
        &[
            "bf16_full_eval",
            "fp16_full_eval",
            "fp16_opt_level",
            "half_precision_backend",
        ],
        NotNeeded("dtype says it"),
    ),
    (&["tf32"], Unless("float32 is float32 throughout")),
    (
        &[
            "model_revision",
            "trust_remote_code",
            "model_init_kwargs",
            "tokenizer_name_or_path",
        ],
        NotNeeded(FOLDER),
    ),
    (
        &["chat_template_path", "eos_token", "pad_token"],
        NotNeeded(FOLDER),
    ),
    (
        &[
            "load_in_4bit",
            "load_in_8bit",
            "use_bnb_nested_quant",
            "bnb_4bit_*",
        ],
        Unless("a quantized model cannot be trained"),
    ),
    (&["gradient_checkpointing"], Key("gradient_checkpointing")),
    (
        &["gradient_checkpointing_kwargs"],
        NotNeeded("gradient_checkpointing says it"),
    ),
    // LoRA.
    (&["use_peft"], By(convert::use_peft)),
    (
        &[
            "lora_r",
            "lora_alpha",
            "lora_dropout",
            "lora_target_modules",
            "use_rslora",
            "use_dora",
        ],
        By(convert::lora_of_trl),
    ),
    (&["lora_task_type"], NotNeeded("there is one task")),
    // The data.
    (&["dataset_name", "datasets"], By(datasets::train)),
    (
        &[
            "dataset_config",
            "dataset_train_split",
            "dataset_test_split",
        ],
        NotNeeded("a file has no parts; held-out records are eval_data"),
    ),
    (
        &["dataset_streaming"],
        NotNeeded("records are read as they are needed"),
    ),
    (
        &[
            "dataset_num_proc",
            "dataset_kwargs",
            "dataset_batch_size",
            "dataloader_*",
        ],
        NotNeeded("records are made into tokens as they are needed"),
    ),
    (
        &["remove_unused_columns"],
        NotNeeded("fields that a stage does not read stay unread"),
    ),
    (
        &["dataset_text_field"],
        NotNeeded("documents are `text`, conversations `messages`"),
    ),
    (&["shuffle_dataset"], Key("shuffle")),
    (&["data_seed"], NotNeeded("seed is that of the order too")),
    (
        &["group_by_length", "train_sampling_strategy"],
        Unless("packing fills rows instead"),
    ),
    (
        &["packing_strategy", "eval_packing"],
        NotNeeded("packing keeps sequences whole"),
    ),
    (
        &[
            "padding_free",
            "pad_to_multiple_of",
            "label_pad_token_id",
            "padding_value",
        ],
        NotNeeded("there is no padding"),
    ),
    (
        &["truncation_mode"],
        NotNeeded("a record is cut at its end"),
    ),
    (&["assistant_only_loss"], By(convert::assistant_turns)),
    (&["completion_only_loss"], By(convert::assistant_turns)),
    // Schedule and optimizer.
    (&["per_device_train_batch_size"], By(convert::batch_size)),
    (&["gradient_accumulation_steps"], By(convert::accumulation)),
    (&["max_steps"], By(convert::max_steps)),
    (&["warmup_steps"], By(convert::warmup_steps)),
    (
        &["lr_scheduler_type"],
        Words("lr_scheduler_type", convert::SCHEDULES),
    ),
    (&["lr_scheduler_kwargs"], By(convert::scheduler_arguments)),
    (&["optim"], Words("optim", convert::OPTIMIZERS)),
    (
        &["optim_args", "optim_target_modules"],
        NoEquivalent("AdamW takes its keys alone"),
    ),
    // What is saved and shown.
    (
        &["do_train", "do_eval", "do_predict", "overwrite_output_dir"],
        NotNeeded("the stage says it"),
    ),
    (
        &["eval_strategy", "evaluation_strategy", "eval_on_start"],
        NotNeeded("with eval_data there are evaluations, every eval_steps"),
    ),
    (
        &["per_device_eval_batch_size", "eval_accumulation_steps"],
        NotNeeded("it is found out"),
    ),
    (
        &["save_strategy"],
        NotNeeded("checkpoints are every save_steps, and at the end"),
    ),
    (
        &["save_only_model"],
        Unless("a checkpoint has what training goes on from"),
    ),
    (&["save_safetensors"], NotNeeded("weights are safetensors")),
    (&["metric_for_best_model"], By(convert::best_metric)),
    (&["load_best_model_at_end"], By(convert::load_best)),
    (
        &[
            "logging_strategy",
            "logging_first_step",
            "logging_dir",
            "run_name",
        ],
        NotNeeded("the run directory has every step; `trainer watch` shows it"),
    ),
    (&["report_to"], By(convert::report_to)),
    (
        &[
            "log_completions",
            "num_completions_to_print",
            "log_level",
            "disable_tqdm",
        ],
        NotNeeded("the run directory has every step; `trainer watch` shows it"),
    ),
    (
        &["push_to_hub", "hub_*", "push_to_hub_*"],
        Unless("nothing is uploaded; a checkpoint is a folder that can be"),
    ),
    // The machine.
    (
        &[
            "ddp_*",
            "fsdp*",
            "deepspeed",
            "local_rank",
            "parallelism_config",
            "accelerator_config",
        ],
        Unless(ONE_DEVICE),
    ),
    (
        &["ds3_gather_for_generation", "average_tokens_across_devices"],
        NotNeeded(ONE_DEVICE),
    ),
    (
        &["use_cpu", "no_cuda", "use_mps_device"],
        NotNeeded("the device is a flag: `--device D`"),
    ),
    (
        &["auto_find_batch_size"],
        Unless("`trainer plan` says what fits"),
    ),
    (
        &[
            "attn_implementation",
            "use_liger_kernel",
            "use_liger_loss",
            "liger_kernel_config",
            "use_logits_to_keep",
            "cast_lm_head_to_fp32",
        ],
        NotNeeded(OWN_KERNELS),
    ),
    (
        &["torch_compile*", "torch_empty_cache_steps"],
        NotNeeded(OWN_KERNELS),
    ),
    (&["activation_offloading"], Key("activation_offloading")),
    // Preferences.
    (&["loss_type"], By(convert::loss_type_of_trl)),
    (&["loss_weights"], Key("loss_weights")),
    (
        &["precompute_ref_log_probs", "precompute_ref_batch_size"],
        NotNeeded("how the reference is computed changes no number"),
    ),
    (
        &[
            "force_use_ref_model",
            "model_adapter_name",
            "ref_adapter_name",
        ],
        NotNeeded("the reference is the model that training starts from"),
    ),
    (&["disable_dropout"], NotNeeded("there is no dropout")),
    (&["generate_during_eval"], Unless("see eval_generate")),
    (&["label_smoothing"], Key("label_smoothing")),
    (&["rpo_alpha"], Key("rpo_alpha")),
    (&["ld_alpha"], Key("ld_alpha")),
    (
        &["reference_free"],
        Unless("the reference is the model that training starts from"),
    ),
    (
        &[
            "sync_ref_model",
            "ref_model_mixup_alpha",
            "ref_model_sync_steps",
        ],
        Unless("the reference is the model that training starts from"),
    ),
    // Regularisation that the schema may come to have.
    (&["neftune_noise_alpha"], Key("neftune_noise_alpha")),
    (&["label_smoothing_factor"], Key("label_smoothing_factor")),
    // Reinforcement learning.
    (&["reward_funcs"], By(convert::reward_funcs)),
    (
        &["reward_model_name_or_path"],
        NoEquivalent("rewards are computed by rule"),
    ),
    (&["scale_rewards"], By(convert::scale_rewards)),
    (&["top_k"], By(convert::top_k)),
    (&["steps_per_generation"], By(convert::steps_per_generation)),
    (&["min_p"], Key("min_p")),
    (&["repetition_penalty"], Key("repetition_penalty")),
    (&["delta"], Key("delta")),
    (
        &["off_policy_mask_threshold"],
        Key("off_policy_mask_threshold"),
    ),
    (
        &["importance_sampling_level"],
        Key("importance_sampling_level"),
    ),
    (&["top_entropy_quantile"], Key("top_entropy_quantile")),
    (
        &["multi_objective_aggregation"],
        Key("multi_objective_aggregation"),
    ),
    (
        &["generation_kwargs"],
        NoEquivalent("see temperature, top_p and top_k"),
    ),
    (
        &["generation_batch_size"],
        By(convert::generation_batch_size),
    ),
    (
        &[
            "use_vllm",
            "vllm_*",
            "use_transformers_paged",
            "cache_implementation",
        ],
        NotNeeded("the model in training samples by itself"),
    ),
];

/// TRL's defaults that change what is trained, by its own sources of 2026. Those that are Keep's too
/// are left out of a recipe.
pub(super) const DEFAULTS: &[Default] = &[
    (&[Cpt, Sft, Po, Rl], "num_train_epochs", "3.0"),
    (&[Cpt, Sft, Po, Rl], "lr_scheduler_type", "'linear'"),
    (&[Cpt, Sft, Po, Rl], "warmup_ratio", "0.0"),
    (&[Cpt, Sft, Po, Rl], "weight_decay", "0.0"),
    (&[Cpt, Sft, Po, Rl], "adam_beta2", "0.999"),
    (&[Cpt, Sft, Po], "per_device_train_batch_size", "8"),
    (&[Cpt, Sft, Po], "max_length", "1024"),
    (&[Cpt, Sft], "packing", "false"),
    (&[Cpt, Sft], "learning_rate", "2e-5"),
    (&[Po, Rl], "learning_rate", "1e-6"),
    (&[Po], "beta", "0.1"),
    (&[Po], "loss_type", "'sigmoid'"),
    (&[Po], "use_weighting", "false"),
    (&[Po], "weighting_clamp", "false"),
    (&[Rl], "num_generations", "8"),
    (&[Rl], "max_completion_length", "256"),
    (&[Rl], "loss_type", "'dapo'"),
    (&[Rl], "beta", "0.0"),
];

const OF_KTO: &[&str] = &["desirable_weight", "undesirable_weight"];
const OF_CPO: &[&str] = &["cpo_alpha", "simpo_gamma"];
const OF_RLOO: &[&str] = &["normalize_advantages", "reward_clip_range"];

/// Defaults of the configurations that have keys of their own, which go before [`DEFAULTS`].
pub(super) fn own_defaults(items: &[Item]) -> &'static [Default] {
    if has_any(items, OF_KTO) {
        &[(&[Po], "loss_type", "'kto'")]
    } else if has_any(items, OF_CPO) {
        &[(&[Po], "loss_type", "'cpo'")]
    } else if has_any(items, OF_RLOO) {
        &[
            (&[Rl], "loss_type", "'rloo'"),
            (&[Rl], "beta", "0.05"),
            (&[Rl], "num_generations", "2"),
            (&[Rl], "max_completion_length", "512"),
        ]
    } else {
        &[]
    }
}

/// Completions of each prompt where the configuration does not say it, by [`DEFAULTS`] or
/// [`own_defaults`].
pub(super) fn num_generations(items: &[Item]) -> f64 {
    match has_any(items, OF_RLOO) {
        true => 2.0,
        false => 8.0,
    }
}

/// Whether it is a `CPOConfig`, in which the names of DPO's losses are those of CPO's.
pub(super) fn is_cpo(items: &[Item]) -> bool {
    has_any(items, OF_CPO)
}

fn has_any(items: &[Item], keys: &[&str]) -> bool {
    keys.iter().any(|key| value_of(items, key).is_some())
}

/// A key of every configuration of preferences, which tells the stage and no loss.
const BETA: &str = "beta";

/// Keys that one stage's configuration has and the others' have not.
const TELLING: &[(StageName, &[&str])] = &[
    (
        Rl,
        &[
            "num_generations",
            "num_iterations",
            "generation_batch_size",
            "reward_funcs",
            "reward_weights",
            "scale_rewards",
            "steps_per_generation",
            "use_vllm",
            "mask_truncated_completions",
            "off_policy_mask_threshold",
            "normalize_advantages",
            "reward_clip_range",
        ],
    ),
    (
        Po,
        &[
            "use_weighting",
            "precompute_ref_log_probs",
            "reference_free",
            "rpo_alpha",
            "ld_alpha",
            "f_divergence_type",
            "f_alpha_divergence_coef",
            "discopop_tau",
            "sync_ref_model",
            "label_smoothing",
            BETA,
            "loss_weights",
            "desirable_weight",
            "undesirable_weight",
            "cpo_alpha",
            "simpo_gamma",
        ],
    ),
    (
        Sft,
        &[
            "packing",
            "max_seq_length",
            "assistant_only_loss",
            "completion_only_loss",
            "dataset_text_field",
            "eval_packing",
            "packing_strategy",
            "padding_free",
        ],
    ),
];

/// The stage whose keys are there; reinforcement learning goes first, because it shares `beta` with
/// preferences.
pub(super) fn stage(items: &[Item]) -> Option<StageName> {
    let told = TELLING.iter().find(|(_, keys)| has_any(items, keys));
    let by_loss = || match value_of(items, "loss_type").and_then(Yaml::text)? {
        "nll" | "dft" => Some(Sft),
        _ => Some(Po),
    };
    told.map(|(stage, _)| *stage).or_else(by_loss)
}

/// `beta` alone is as well an `ORPOConfig`'s, which has no key of its own, as a `DPOConfig`'s.
pub(super) fn remark_on_an_untold_loss(carrier: &mut Carrier<'_>) {
    let items = carrier.items;
    let of_po = TELLING.iter().filter(|(stage, _)| *stage == Po);
    let mut telling = of_po.flat_map(|(_, keys)| *keys).chain(&["loss_type"]);
    let is_told = telling.any(|key| *key != BETA && value_of(items, key).is_some());
    let beta = items
        .iter()
        .find(|item| item.key == BETA && item.value != Yaml::Null);
    if let (Po, false, Some(item)) = (carrier.stage, is_told, beta) {
        carrier.remark(
            item,
            "and taken to be DPO's, as nothing says another loss; of an ORPOConfig, set \
             loss_type = \"orpo\" in the recipe",
        );
    }
}
