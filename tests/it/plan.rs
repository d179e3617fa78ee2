//! `trainer plan`: what it says a run will take, and what the run took.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use datasets::{ChatTokenizer, DocumentStart, GenerationPrompt, Message};
use model::checkpoint::Dtype;
use model::config::Gemma2Shape;
use model::{CausalLm, ModelConfig};
use trainer::plan::{Hardware, Item, Memory, StagePlan};
use trainer::recipe::{RawRecipe, StageName, for_stage};

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{events, run, succeed, text, write};

/// How far the plan may be from the measurement.
const TOLERANCE: f64 = 0.1;

/// 33.6 M parameters in the shape of Gemma 2, with the tokenizer of a golden model: a row of the
/// embedding that no token asks for takes memory like any other.
fn model(dir: &Path) -> (PathBuf, ModelConfig) {
    let config = ModelConfig::demo_gemma2(&Gemma2Shape {
        vocab_size: 16_384,
        hidden_size: 512,
        intermediate_size: 1536,
        num_hidden_layers: 8,
        num_attention_heads: 8,
        num_key_value_heads: 4,
        head_dim: 64,
        sliding_window: 128,
        max_position_embeddings: 1024,
        ..Gemma2Shape::default()
    })
    .expect("a sound shape");
    let folder = dir.join("model");
    std::fs::create_dir(&folder).expect("the folder is new");
    CausalLm::random(config.clone(), 1, 0.02, &Device::flex(), DType::F32)
        .save(&folder, Dtype::Float32)
        .expect("it saves");
    for file in datasets::Tokenizer::files(&golden::model_dir("gemma2")) {
        let name = file.file_name().expect("a file has a name");
        std::fs::copy(&file, folder.join(name)).expect("it copies");
    }
    (folder, config)
}

/// Conversations that are longer than a sequence may be, nearly all of them an answer.
fn long_conversations(dir: &Path) -> PathBuf {
    let line = |i: usize| {
        let words: Vec<String> = (0..900)
            .map(|j| ((i * 71 + j * 37) % 97).to_string())
            .collect();
        format!(
            r#"{{"messages": [{{"role": "user", "content": "Count."}}, {{"role": "assistant", "content": "{}"}}]}}"#,
            words.join(" ")
        )
    };
    let lines: Vec<String> = (0..12).map(line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(dir, "long.jsonl", &lines)
}

/// Conversations whose question nearly fills a sequence of 256 tokens.
fn long_questions(dir: &Path, model: &Path) -> PathBuf {
    let tokenizer = ChatTokenizer::from_dir(model, DocumentStart::Bos).expect("a tokenizer");
    let question = |i: usize| {
        let length = |text: &str| {
            let asked = [Message::user(text)];
            let ids = tokenizer.encode_chat(&asked, GenerationPrompt::Add);
            ids.expect("the template renders").len()
        };
        let mut text = i.to_string();
        while length(&text) < 245 {
            text.push_str(" 7");
        }
        format!(
            r#"{{"messages": [{{"role": "user", "content": "{text}"}}, {{"role": "assistant", "content": "7"}}]}}"#
        )
    };
    let lines: Vec<String> = (0..24).map(question).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(dir, "questions.jsonl", &lines)
}

/// Pairs whose answers are longer than a sequence may be.
fn long_pairs(dir: &Path) -> PathBuf {
    let answer = |i: usize| {
        let words: Vec<String> = (0..900)
            .map(|j| ((i * 71 + j * 37) % 97).to_string())
            .collect();
        words.join(" ")
    };
    let line = |i: usize| {
        let [chosen, rejected] = [2 * i, 2 * i + 1].map(answer);
        format!(r#"{{"prompt": "Count.", "chosen": "{chosen}", "rejected": "{rejected}"}}"#)
    };
    let lines: Vec<String> = (0..12).map(line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(dir, "pairs.jsonl", &lines)
}

/// Prompts that are as long as the questions there.
fn long_prompts(dir: &Path, questions: &Path) -> PathBuf {
    let questions = std::fs::read_to_string(questions).expect("it was written");
    let prompt = |line: &str| {
        let mut record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let messages = record["messages"].as_array_mut().expect("a list");
        messages.truncate(1);
        record["verifier"] = "chrf".into();
        record["ground_truth"] = "7".into();
        record.to_string()
    };
    let lines: Vec<String> = questions.lines().map(prompt).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(dir, "prompts.jsonl", &lines)
}

/// What a stage takes at its peak, beyond what was there before it loaded anything.
fn most_of_run(stage: &str, [model, data, output]: [&Path; 3], more: &[&str]) -> f64 {
    let paths = [("--model", model), ("--data", data), ("--output", output)];
    let paths = paths.iter().flat_map(|(flag, path)| [*flag, text(path)]);
    let fixed = ["--stage", stage, "--device", "cpu"].into_iter();
    let arguments: Vec<&str> = fixed.chain(paths).chain(more.iter().copied()).collect();
    succeed(&arguments);
    let end = events(output, "finished").pop().expect("an end");
    let bytes = |name: &str| {
        let bytes = end[name].as_f64();
        bytes.unwrap_or_else(|| panic!("{name} in {end}"))
    };
    bytes("memory/peak_bytes") - bytes("memory/baseline_bytes")
}

fn most(memory: &Memory, name: &str) -> u64 {
    let item = memory.items.iter().find(|item| item.name == name);
    item.map_or(0, Item::largest)
}

#[cfg(target_os = "linux")]
#[test]
fn planned_memory_is_what_a_run_takes_within_a_tenth() {
    let dir = scratch("plan-measured");
    let (model, config) = model(&dir);
    let data = long_conversations(&dir);
    let questions = long_questions(&dir, &model);
    let generates = format!(
        "lora_r = 4\neval_data = [{questions:?}]\neval_generate = 24\neval_max_new_tokens = 48"
    );
    let pairs = long_pairs(&dir);
    let prompts = long_prompts(&dir, &questions);
    let of = |stage, data| move |keys| (stage, data, keys);
    let (sft, po) = (of(StageName::Sft, &data), of(StageName::Po, &pairs));
    let rl = of(StageName::Rl, &prompts);
    let cases = [
        sft("gradient_checkpointing = true"),
        sft("gradient_checkpointing = true\noptim = \"adamw_8bit\""),
        sft("gradient_checkpointing = false"),
        sft("gradient_checkpointing = false\noptim = \"adamw_8bit\""),
        sft("gradient_checkpointing = true\ngradient_accumulation_steps = 2"),
        sft("gradient_checkpointing = true\nfreeze_embeddings = true"),
        sft("lora_r = 4\nstream_frozen_blocks = true"),
        sft(&generates),
        po("gradient_checkpointing = true"),
        rl("num_generations = 4\nmax_prompt_length = 256\nmax_completion_length = 48"),
    ];
    let mut wrong = Vec::new();
    for (number, (stage, data, keys)) in cases.into_iter().enumerate() {
        let keys = match stage {
            StageName::Rl => format!("per_device_train_batch_size = 8\n{keys}\n"),
            _ => format!("max_length = 256\nper_device_train_batch_size = 2\n{keys}\n"),
        };
        let recipe_file = dir.join("recipe.toml");
        std::fs::write(&recipe_file, &keys).expect("the folder is writable");
        let raw = RawRecipe::parse("recipe.toml", &keys).expect("TOML");
        let recipe = for_stage(&raw, stage).expect("a recipe");
        let memory = StagePlan::of(&recipe, &config, Hardware::Cpu).memory;
        let (planned, moment) = memory.peak();
        // Whether malloc uses freed blocks again by the peak depends on when a thread has read a block.
        let kept = match keys.contains("stream_frozen_blocks") {
            true => most(&memory, "freed blocks that malloc keeps"),
            false => 0,
        };
        // A peak is the most that runs take: they differ by what malloc keeps.
        let output = dir.join(format!("run-{number}"));
        let mut measured = 0.0;
        for _ in 0..3 {
            let more = ["--recipe", text(&recipe_file), "--max-steps", "3"];
            let most = most_of_run(stage.as_str(), [&model, data, &output], &more);
            measured = f64::max(measured, most);
            std::fs::remove_dir_all(&output).expect("checkpoints are large");
            if planned as f64 / measured - 1.0 <= TOLERANCE {
                break;
            }
        }
        let error = planned as f64 / measured - 1.0;
        let line = format!(
            "{stage}, {}: planned {:.1} MB in {}, measured {:.1} MB: {:+.1} %",
            keys.replace('\n', ", "),
            planned as f64 / 1e6,
            moment.words(),
            measured / 1e6,
            100.0 * error
        );
        println!("{line}");
        let with_kept = (planned + kept) as f64 / measured - 1.0;
        if error > TOLERANCE || with_kept < -TOLERANCE {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_plan_reads_the_shape_alone_and_says_what_to_change_where_it_does_not_fit() {
    let recipe = "../examples/recipes/tower_plus_9b/recipe.toml";
    let fits = succeed(&[
        "plan", "--recipe", recipe, "--device", "cuda", "--memory", "139",
    ]);
    let fits = String::from_utf8_lossy(&fits.stdout).into_owned();
    for stage in ["cpt", "sft", "po", "rl"] {
        assert!(fits.contains(&format!("stage {stage}: ")), "{fits}");
    }
    assert_eq!(fits.matches("  fits in 139 GiB").count(), 4, "{fits}");

    let refused = run(&[
        "plan",
        "--recipe",
        recipe,
        "--stage",
        "sft",
        "--device",
        "cuda",
        "--memory",
        "79",
        "--set",
        "optim=adamw_torch",
    ]);
    let stdout = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(refused.status.code(), Some(1), "{stdout}");
    for says in [
        "does not fit in 79.0 GiB",
        "optim = \"adamw_8bit\"",
        "lora_r = 16",
    ] {
        assert!(stdout.contains(says), "{says} in\n{stdout}");
    }
    assert!(String::from_utf8_lossy(&refused.stderr).contains("sft does not fit in memory"));
}

#[test]
fn a_plan_of_no_model_asks_for_one() {
    let recipe = "../examples/recipes/demo/demo.toml";
    let refused = run(&["plan", "--recipe", recipe, "--device", "cpu"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("hint: pass `--model DIR`"));
}

#[test]
fn a_plan_can_time_a_step_of_a_small_model() {
    let dir = scratch("plan-time");
    let recipe = write(
        &dir,
        "recipe.toml",
        &[
            "max_length = 32",
            "per_device_train_batch_size = 2",
            "max_steps = 5",
        ],
    );
    let config = golden::model_dir("gemma2").join("config.json");
    let output = succeed(&[
        "plan",
        "--recipe",
        text(&recipe),
        "--stage",
        "sft",
        "--config",
        text(&config),
        "--device",
        "cpu",
        "--measure",
    ]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains(" s a step on cpu"), "{stdout}");
    assert!(stdout.contains("hours for 5 steps"), "{stdout}");
}

#[cfg(target_os = "linux")]
#[test]
fn resuming_takes_no_more_memory_than_the_run_did() {
    let dir = scratch("plan-resumed");
    let (model, _) = model(&dir);
    let data = long_conversations(&dir);
    let output = dir.join("run");
    let take = |steps: &str| {
        let more = [
            "--max-steps",
            steps,
            "--set",
            "max_length=64",
            "--set",
            "per_device_train_batch_size=1",
            "--set",
            "gradient_checkpointing=true",
        ];
        most_of_run("sft", [&model, &data, &output], &more)
    };
    let [whole, resumed] = ["2", "3"].map(take);
    println!(
        "a run {:.1} MB, resumed {:.1} MB",
        whole / 1e6,
        resumed / 1e6
    );
    // How threads take turns moves what malloc keeps by some percent.
    assert!(resumed < 1.05 * whole, "{resumed} after {whole}");
}
