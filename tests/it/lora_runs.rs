//! Low-rank adapters and frozen embeddings through the program: every stage, resuming, and the
//! folders that it leaves.

use std::path::{Path, PathBuf};
use std::process::Output;

use burn::tensor::{DType, Device};
use datasets::{SupervisedTokens, TokenBatch};
use model::checkpoint::{Checkpoint, Dtype, TensorFile};
use model::generate::{GenerateOptions, Request, SamplingOptions, generate};
use model::{CausalLm, LINEAR_MODULES, LoraConfig, StreamedReads, Trainable};
use serde_json::Value;
use trainer::forward::{Forward, Recompute, host_loss};
use trainer::optimizer::GradientBuffer;

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, events, prompts, run, succeed, text, write};

/// A run of a stage on the CPU.
fn train(stage: &str, family: &str, dir: &Path, name: &str, sets: &[&str]) -> (PathBuf, Output) {
    let output = dir.join(name);
    let data = match stage {
        "rl" => prompts(dir),
        "po" => write(
            dir,
            "po.jsonl",
            &[
                r#"{"prompt": "Say a word.", "chosen": "Turm", "rejected": "Brot"}"#,
                r#"{"prompt": "And another.", "chosen": "Licht", "rejected": "Wind Wind"}"#,
            ],
        ),
        "cpt" => write(
            dir,
            "cpt.jsonl",
            &[r#"{"text": "Am Anfang war das Wort."}"#],
        ),
        _ => conversations(dir),
    };
    let model = golden::model_dir(family);
    let mut args = vec!["--stage", stage, "--model", text(&model), "--data"];
    args.extend([text(&data), "--output", text(&output), "--device", "cpu"]);
    args.extend(["--tui", "never", "--set", "learning_rate=1e-2"]);
    args.extend([
        "--set",
        "warmup_ratio=0",
        "--set",
        "lr_scheduler_type=constant",
    ]);
    args.extend(["--set", "per_device_train_batch_size=2"]);
    for set in sets {
        args.extend(["--set", set]);
    }
    let ended = run(&args);
    (output, ended)
}

fn trained(stage: &str, family: &str, dir: &Path, name: &str, sets: &[&str]) -> PathBuf {
    let (output, ended) = train(stage, family, dir, name, sets);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{stage} {family}: {stderr}");
    output
}

fn number(event: &Value, key: &str) -> f64 {
    let number = event[key].as_f64();
    number.unwrap_or_else(|| panic!("{key} in {event}"))
}

#[test]
fn every_stage_trains_adapters_and_saves_an_ordinary_model() {
    for (index, stage) in ["cpt", "sft", "po", "rl"].into_iter().enumerate() {
        let family = golden::FAMILIES[index];
        let dir = scratch(&format!("lora-{stage}"));
        let mut sets = vec!["lora_r=4", "lora_alpha=8"];
        // The rewards of a first group may all be equal, and then it moves nothing.
        let num_steps = if stage == "rl" { 3 } else { 2 };
        let max_steps = format!("max_steps={num_steps}");
        sets.push(&max_steps);
        if stage == "rl" {
            sets.extend(["beta=0.1", "num_generations=4", "max_completion_length=6"]);
        }
        let run_dir = trained(stage, family, &dir, "run", &sets);
        let steps = events(&run_dir, "step");
        assert_eq!(steps.len(), num_steps, "{stage}");
        let last = &steps[num_steps - 1];
        let started = &events(&run_dir, "run_started")[0];
        let share = number(started, "trained_parameters") / number(started, "parameters");
        assert!(share > 0.0 && share < 0.5, "{stage}: {started}");
        if stage == "rl" {
            // New adapters are the reference itself; after a step they are not.
            assert_eq!(number(&steps[0], "kl"), 0.0);
            assert!(number(last, "kl") > 0.0, "{last}");
            let difference = number(last, "sampling/logp_difference/max");
            assert!(difference < 1e-4, "{difference}");
        }
        if stage == "po" {
            assert_eq!(number(&steps[0], "rewards/margins"), 0.0);
            assert!(number(last, "rewards/margins") != 0.0, "{last}");
        }
        let saved = &events(&run_dir, "checkpoint")[0];
        assert!(number(saved, "merge/adapter_effect") > 0.0, "{stage}");
        assert!(number(saved, "merge/max_difference").is_finite(), "{stage}");
        assert_eq!(events(&run_dir, "warning"), Vec::<Value>::new(), "{stage}");
        // The next stage, and every other command, takes it like any model.
        let checkpoint = run_dir.join(format!("checkpoint-{num_steps}"));
        let adapter = checkpoint.join("adapter");
        assert!(adapter.join("adapter_config.json").exists(), "{stage}");
        assert!(!checkpoint.join("trainer_state/master.safetensors").exists());
        let mut generate = vec!["generate", "--model", text(&checkpoint), "--device", "cpu"];
        generate.extend(["--prompt", "Hi", "--max-new-tokens", "2"]);
        succeed(&generate);
        // Moments are the adapters' alone.
        let moments = checkpoint.join("trainer_state/moments.safetensors");
        let moments = TensorFile::open(moments).expect("it opens");
        assert!(
            moments.names().all(|name| name.contains(".lora_")),
            "{stage}"
        );
        // Norms, embedding and biases are the base's bytes.
        let checkpoints = [golden::model_dir(family), checkpoint]
            .map(|dir| Checkpoint::open(dir).expect("it opens"));
        for name in checkpoints[0].names() {
            let [before, after] = [0, 1].map(|i| checkpoints[i].tensor(name).expect("it is there"));
            let is_linear = name.ends_with("_proj.weight");
            assert_eq!(before.bytes != after.bytes, is_linear, "{stage}: {name}");
        }
    }
}

#[test]
fn a_resumed_run_of_adapters_is_an_uninterrupted_one_bit_for_bit() {
    // Of the families, Gemma 3's file is bfloat16: what was merged cannot be taken apart again.
    for (stage, family, extra) in [
        ("sft", "gemma3", "use_rslora=true"),
        ("rl", "qwen2", "beta=0.1"),
    ] {
        let dir = scratch(&format!("lora-resume-{stage}"));
        let mut sets = vec!["lora_r=4", "max_completion_length=6", extra];
        sets.push("lora_target_modules=['q_proj','v_proj','down_proj']");
        let with = |steps: &'static str| [&sets[..], &[steps]].concat();
        let whole = trained(stage, family, &dir, "whole", &with("max_steps=6"));
        trained(stage, family, &dir, "cut", &with("max_steps=3"));
        let cut = trained(stage, family, &dir, "cut", &with("max_steps=6"));
        assert_eq!(number(&events(&cut, "resumed")[0], "from_step"), 3.0);
        for file in [
            "model.safetensors",
            "adapter/adapter_model.safetensors",
            "trainer_state/moments.safetensors",
        ] {
            // Qwen 2's golden folder is sharded, and what is saved of it is not.
            let [a, b] = [&whole, &cut].map(|run| {
                let path = run.join("checkpoint-6").join(file);
                std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            });
            assert!(a == b, "{stage}: {file} differs after a resume");
        }
        let losses = |run: &Path| -> Vec<u64> {
            let steps = events(run, "step");
            steps.iter().map(|s| number(s, "loss").to_bits()).collect()
        };
        assert_eq!(losses(&whole), losses(&cut), "{stage}");
    }
}

#[test]
fn resuming_with_other_adapters_is_refused_with_both_spelled_out() {
    let dir = scratch("lora-other");
    trained("sft", "qwen3", &dir, "run", &["lora_r=4", "max_steps=1"]);
    for (sets, expected) in [
        (["lora_r=0", "max_steps=2"], "this run has lora_r = 0"),
        (["lora_r=8", "max_steps=2"], "this run has lora_r = 8"),
    ] {
        let (_, ended) = train("sft", "qwen3", &dir, "run", &sets);
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("was trained with lora_r = 4"), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn a_frozen_embedding_keeps_its_bytes_and_everything_else_trains() {
    for family in golden::FAMILIES {
        let dir = scratch(&format!("frozen-{family}"));
        let sets = ["freeze_embeddings=true", "max_steps=2"];
        let run_dir = trained("sft", family, &dir, "run", &sets);
        let folders = [golden::model_dir(family), run_dir.join("checkpoint-2")];
        let checkpoints = folders.map(|dir| Checkpoint::open(dir).expect("it opens"));
        for name in checkpoints[0].names() {
            let [before, after] = [0, 1].map(|i| checkpoints[i].tensor(name).expect("it is there"));
            let is_embedding = name == "model.embed_tokens.weight";
            assert_eq!(
                before.bytes == after.bytes,
                is_embedding,
                "{family}: {name}"
            );
        }
        let master = run_dir.join("checkpoint-2/trainer_state/moments.safetensors");
        let moments = TensorFile::open(master).expect("it opens");
        assert!(
            moments.names().all(|name| !name.contains("embed_tokens")),
            "{family}"
        );
    }
}

#[test]
fn streamed_blocks_give_the_bits_of_resident_ones() {
    for (stage, family) in [("sft", "gemma3"), ("po", "gemma2"), ("rl", "qwen2")] {
        let dir = scratch(&format!("lora-streamed-{stage}"));
        let sets = ["lora_r=4", "max_steps=3", "max_completion_length=6"];
        let resident = [&sets[..], &["gradient_checkpointing=true"]].concat();
        let streamed = [&sets[..], &["stream_frozen_blocks=true"]].concat();
        let runs = [("resident", resident), ("streamed", streamed)]
            .map(|(name, sets)| trained(stage, family, &dir, name, &sets));
        let read = |file: &str| {
            runs.each_ref()
                .map(|run| std::fs::read(run.join(file)).expect("a file"))
        };
        for file in [
            "checkpoint-3/model.safetensors",
            "checkpoint-3/adapter/adapter_model.safetensors",
            "checkpoint-3/trainer_state/moments.safetensors",
        ] {
            let [resident, streamed] = read(file);
            assert!(resident == streamed, "{stage}: {file}");
        }
        let losses = runs.map(|run| {
            let steps = events(&run, "step");
            let bits = |key: &str, step: &Value| number(step, key).to_bits();
            let both = |step: &Value| [bits("loss", step), bits("grad_norm", step)];
            steps.iter().map(both).collect::<Vec<_>>()
        });
        assert_eq!(losses[0], losses[1], "{stage}");
    }
}

/// A golden model of which nothing but new adapters trains, its blocks on the disk.
fn streamed(family: &str) -> CausalLm {
    let trainable = Trainable {
        lora: Some(LoraConfig {
            r: 2,
            alpha: 4.0,
            use_rslora: false,
            target_modules: LINEAR_MODULES.map(str::to_owned).to_vec(),
            seed: 1,
        }),
        frozen: false,
        freeze_embeddings: false,
        stream_frozen_blocks: true,
    };
    let device = Device::flex().autodiff();
    let dir = golden::model_dir(family);
    let (model, _) = CausalLm::load_to_train(&dir, &device, DType::F32, &trainable)
        .unwrap_or_else(|error| panic!("{family}: {error}"));
    model
}

#[test]
fn streamed_blocks_are_read_ahead_in_the_order_of_visits() {
    let model = streamed("gemma3");
    let layers = model.config().num_hidden_layers;
    assert!(layers > 2, "{layers} blocks have no order to speak of");
    let ids: Vec<u32> = (3..40).collect();
    let loss_mask = vec![true; ids.len()];
    let batch = TokenBatch::from_sequences(&[SupervisedTokens { ids, loss_mask }]);
    let weights = vec![-1.0; batch.num_supervised()];
    for step in 1..=2 {
        let forward = Forward::new(&model, Recompute::Blocks);
        let (loss, _) = forward.weighted_logprobs(&batch, &weights, 1.0);
        host_loss(&loss);
        forward.backward(&loss, &mut GradientBuffer::default());
        // Of all visits up and down again, only the very first finds nothing read.
        let ahead = 2 * layers * step - 1;
        assert_eq!(model.streamed_reads(), StreamedReads { ahead, late: 1 });
    }
    // Two sequences take each block together: once for the prompts and once for every further token.
    let requests = [5, 9].map(|length| Request {
        prompt: (2..length).collect(),
        index: 0,
        max_new_tokens: 4,
    });
    let options = GenerateOptions {
        sampling: SamplingOptions::GREEDY,
        stop_tokens: Vec::new(),
        max_batch_size: 2,
    };
    generate(&model, &requests, &options, &|| false).expect("nobody stops it");
    let ahead = 4 * layers - 1 + 4 * layers;
    assert_eq!(model.streamed_reads(), StreamedReads { ahead, late: 1 });
}

#[test]
fn checking_a_merge_reads_each_streamed_block_once() {
    let model = streamed("qwen3");
    let dir = scratch("lora-merge-reads");
    model.save(&dir, Dtype::Float32).expect("it saves");
    assert_eq!(model.streamed_reads(), StreamedReads::default());
    let difference = model.merge_difference(&dir).expect("it is a model");
    assert!(difference.is_rounding(), "{difference:?}");
    let ahead = model.config().num_hidden_layers - 1;
    assert_eq!(model.streamed_reads(), StreamedReads { ahead, late: 1 });
}
