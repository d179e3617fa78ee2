//! axolotl: one YAML file for every kind of training.

use super::carrier::Carrier;
use super::convert;
use super::datasets;
use super::rule::{Default, Row, Rule};
use super::yaml::{Item, Yaml};
use super::{trl, value_of};
use crate::recipe::StageName::{self, Cpt, Po, Rl, Sft};
use Rule::{By, Key, NoEquivalent, NotNeeded, Unless, Words};

const ONE_DEVICE: &str = "Keep trains on one device";
const OWN_KERNELS: &str = "Keep has kernels of its own";
const FOLDER: &str = "the model's folder says it";
const STEPS: &str = "save_steps and eval_steps count steps";

/// What becomes of axolotl's keys. Those that are not here go by their names.
pub(super) const ROWS: &[Row] = &[
    // The model.
    (&["base_model"], By(convert::model)),
    (
        &[
            "base_model_config",
            "model_type",
            "tokenizer_type",
            "tokenizer_config",
            "trust_remote_code",
            "revision_of_model",
            "is_falcon_derived_model",
            "is_llama_derived_model",
            "is_mistral_derived_model",
            "is_qwen_derived_model",
        ],
        NotNeeded(FOLDER),
    ),
    (
        &["chat_template", "chat_template_jinja"],
        NotNeeded(
            "the model folder's own template is used; to change it, put chat_template.jinja there",
        ),
    ),
    (
        &[
            "special_tokens",
            "tokens",
            "added_tokens_overrides",
            "resize_token_embeddings_to_32x",
        ],
        NoEquivalent("the model folder's tokenizer stays as it is"),
    ),
    (&["bf16", "bfloat16"], By(convert::bf16)),
    (&["fp16", "float16"], By(convert::fp16)),
    (&["tf32"], Unless("float32 is float32 throughout")),
    (
        &["load_in_4bit", "load_in_8bit", "gptq"],
        Unless("a quantized model cannot be trained"),
    ),
    (&["gradient_checkpointing"], Key("gradient_checkpointing")),
    (
        &["gradient_checkpointing_kwargs"],
        NotNeeded("gradient_checkpointing says it"),
    ),
    (
        &["unfrozen_parameters"],
        Unless("every parameter is trained"),
    ),
    // LoRA.
    (&["adapter"], By(adapter)),
    (&["lora_r"], By(lora_r)),
    (&["lora_alpha"], Key("lora_alpha")),
    (&["peft_use_rslora"], Key("use_rslora")),
    (&["lora_dropout"], Unless("adapters have no dropout")),
    (&["lora_target_modules"], Key("lora_target_modules")),
    (&["lora_target_linear"], By(target_linear)),
    (&["lora_modules_to_save"], Key("lora_modules_to_save")),
    (
        &["lora_fan_in_fan_out"],
        Unless("a projection is [out, in]"),
    ),
    (
        &["lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel"],
        NotNeeded(OWN_KERNELS),
    ),
    // The data.
    (&["datasets", "pretraining_dataset"], By(datasets::train)),
    (&["test_datasets"], By(datasets::eval)),
    (
        &["val_set_size"],
        Unless("held-out records are a file of their own, eval_data"),
    ),
    (
        &[
            "dataset_prepared_path",
            "dataset_processes",
            "dataset_num_proc",
            "dataset_keep_in_memory",
        ],
        NotNeeded("records are made into tokens as they are needed"),
    ),
    (
        &[
            "dataloader_*",
            "skip_prepare_dataset",
            "remove_unused_columns",
        ],
        NotNeeded("records are made into tokens as they are needed"),
    ),
    (&["shuffle_merged_datasets"], Key("shuffle")),
    (&["train_on_inputs"], By(convert::train_on_inputs)),
    (&["group_by_length"], Unless("packing fills rows instead")),
    (
        &[
            "pad_to_sequence_len",
            "eval_sample_packing",
            "sample_packing_*",
            "multipack_real_batches",
        ],
        NotNeeded("there is no padding"),
    ),
    (
        &[
            "flash_attn_*",
            "flash_attention",
            "sdp_attention",
            "xformers_attention",
            "flex_attention",
            "eager_attention",
            "attn_implementation",
            "s2_attention",
        ],
        NotNeeded(OWN_KERNELS),
    ),
    // Schedule and optimizer.
    (&["micro_batch_size"], By(convert::batch_size)),
    (&["gradient_accumulation_steps"], By(convert::accumulation)),
    (
        &["batch_size", "eval_batch_size"],
        NotNeeded("micro_batch_size and gradient_accumulation_steps say it"),
    ),
    (&["max_steps"], By(convert::max_steps)),
    (&["warmup_steps"], By(convert::warmup_steps)),
    (
        &["lr_scheduler"],
        Words("lr_scheduler_type", convert::SCHEDULES),
    ),
    (&["cosine_min_lr_ratio"], Key("min_lr_ratio")),
    (&["lr_scheduler_kwargs"], By(convert::scheduler_arguments)),
    (&["optimizer"], Words("optim", convert::OPTIMIZERS)),
    (
        &["optim_args", "optim_target_modules"],
        NoEquivalent("AdamW takes its keys alone"),
    ),
    (&["neftune_noise_alpha"], Key("neftune_noise_alpha")),
    // What is saved and shown.
    (
        &[
            "saves_per_epoch",
            "evals_per_epoch",
            "eval_strategy",
            "save_strategy",
        ],
        NoEquivalent(STEPS),
    ),
    (&["save_safetensors"], NotNeeded("weights are safetensors")),
    (
        &["save_only_model"],
        Unless("a checkpoint has what training goes on from"),
    ),
    (&["metric_for_best_model"], By(convert::best_metric)),
    (&["load_best_model_at_end"], By(convert::load_best)),
    (&["early_stopping_patience"], By(convert::patience)),
    (
        &["auto_resume_from_checkpoints"],
        NotNeeded("a run goes on from its newest checkpoint"),
    ),
    (&["use_tensorboard"], By(convert::report_to)),
    (
        &[
            "wandb_*",
            "mlflow_*",
            "comet_*",
            "use_wandb",
            "use_mlflow",
            "debug",
        ],
        NotNeeded("the run directory has every step; `trainer watch` shows it"),
    ),
    (
        &["hub_*", "push_dataset_to_hub"],
        Unless("nothing is uploaded; a checkpoint is a folder that can be"),
    ),
    // The machine.
    (
        &[
            "deepspeed",
            "fsdp*",
            "ddp_*",
            "local_rank",
            "sequence_parallel_degree",
            "context_parallel_size",
            "tensor_parallel_size",
        ],
        Unless(ONE_DEVICE),
    ),
    (
        &[
            "torch_compile*",
            "liger_*",
            "cut_cross_entropy",
            "unsloth_*",
            "low_cpu_mem_usage",
            "device_map",
            "plugins",
        ],
        NotNeeded(OWN_KERNELS),
    ),
    (&["strict"], NotNeeded("unknown keys are always errors")),
    // Preferences and reinforcement learning.
    (&["rl"], By(rl)),
    (&["rl_beta", "dpo_beta"], Key("beta")),
    (&["dpo_use_weighting"], Key("use_weighting")),
    (
        &["dpo_label_smoothing", "rl_label_smoothing"],
        Key("label_smoothing"),
    ),
    (&["dpo_loss_type"], By(convert::loss_type)),
    (&["rpo_alpha"], Key("rpo_alpha")),
    (&["simpo_gamma"], Key("simpo_gamma")),
    (&["cpo_alpha"], Key("cpo_alpha")),
    (&["orpo_alpha"], Key("orpo_alpha")),
    (&["kto_desirable_weight"], Key("desirable_weight")),
    (&["kto_undesirable_weight"], Key("undesirable_weight")),
    (
        &[
            "dpo_use_logits_to_keep",
            "dpo_padding_free",
            "precompute_ref_log_probs",
        ],
        NotNeeded("it changes no number"),
    ),
    (&["trl"], By(nested_trl)),
    (
        &["vllm"],
        NotNeeded("the model in training samples by itself"),
    ),
];

/// axolotl's defaults that change what is trained, and, in reinforcement learning, TRL's, which runs
/// it.
pub(super) const DEFAULTS: &[Default] = &[
    (&[Cpt, Sft, Po, Rl], "num_train_epochs", "1.0"),
    (&[Cpt, Sft, Po, Rl], "lr_scheduler_type", "'cosine'"),
    (&[Cpt, Sft, Po, Rl], "warmup_ratio", "0.03"),
    (&[Cpt, Sft, Po, Rl], "weight_decay", "0.0"),
    (&[Cpt, Sft, Po, Rl], "adam_beta2", "0.999"),
    (&[Cpt, Sft, Po], "per_device_train_batch_size", "1"),
    (&[Cpt, Sft, Po], "max_length", "512"),
    (&[Cpt, Sft], "packing", "false"),
    (&[Po], "beta", "0.1"),
    (&[Po], "loss_type", "'sigmoid'"),
    (&[Po], "use_weighting", "false"),
    (&[Po], "weighting_clamp", "false"),
    (&[Rl], "max_completion_length", "256"),
];

/// `rl:` names preferences and reinforcement learning; a corpus of completions is pretraining; the
/// rest is fine-tuning.
pub(super) fn stage(items: &[Item]) -> Option<StageName> {
    if let Some(rl) = value_of(items, "rl").and_then(Yaml::text) {
        return Some(if ["grpo", "gdpo"].contains(&rl) {
            Rl
        } else {
            Po
        });
    }
    if value_of(items, "pretraining_dataset").is_some() {
        return Some(Cpt);
    }
    let Some(Yaml::List(datasets)) = value_of(items, "datasets") else {
        return None;
    };
    let is_corpus = |dataset: &Yaml| {
        let kind = dataset.get("type").and_then(Yaml::text);
        kind.is_some_and(|kind| kind.starts_with("completion"))
    };
    Some(if !datasets.is_empty() && datasets.iter().all(is_corpus) {
        Cpt
    } else {
        Sft
    })
}

/// The loss of a preference pair; grpo names the stage alone.
fn rl(carrier: &mut Carrier<'_>, item: &Item) {
    if carrier.stage != Po {
        return carrier.leave(item, "not needed: the stage says it");
    }
    let word = match item.value.text().unwrap_or_default() {
        "dpo" => "sigmoid",
        word => word,
    };
    carrier.offer(item, "loss_type", &Yaml::Text(word.to_owned()));
}

/// `lora` is said by lora_r; QLoRA quantizes the model beside.
fn adapter(carrier: &mut Carrier<'_>, item: &Item) {
    match item.value.text() {
        Some("qlora") => carrier.leave(item, "no equivalent: a quantized model cannot be trained"),
        _ => carrier.leave(item, "not needed: lora_r says it"),
    }
}

/// axolotl reads it under an `adapter` alone.
fn lora_r(carrier: &mut Carrier<'_>, item: &Item) {
    match carrier.value_of("adapter").is_none_or(Yaml::is_off) {
        true => carrier.leave(
            item,
            "not needed: without an adapter it has no effect there",
        ),
        false => carrier.offer(item, "lora_r", &item.value),
    }
}

/// peft's word for what it means.
fn target_linear(carrier: &mut Carrier<'_>, item: &Item) {
    if item.value.is_off() {
        return carrier.leave(item, "not needed: lora_target_modules says it");
    }
    let every_layer = Yaml::Text("all-linear".to_owned());
    carrier.offer(item, "lora_target_modules", &every_layer);
}

/// The arguments that axolotl hands on to TRL.
fn nested_trl(carrier: &mut Carrier<'_>, item: &Item) {
    for nested in item.value.items() {
        let named = Item {
            key: format!("{}.{}", item.key, nested.key),
            ..nested.clone()
        };
        carrier.carry(trl::ROWS, &nested.key, &named);
    }
}
