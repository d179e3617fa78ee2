use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;
use crate::recipe::{self, for_stage};

fn parsed(line: &str) -> Command {
    try_parse_from(words(line)).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(line: &str) -> clap::Error {
    try_parse_from(words(line)).expect_err(line)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    std::iter::once("trainer").chain(line.split_whitespace())
}

fn train(line: &str) -> TrainArgs {
    match parsed(line) {
        Command::Train(args) => *args,
        other => panic!("not a training run: {other:?}"),
    }
}

fn generate(line: &str) -> GenerateArgs {
    match parsed(line) {
        Command::Generate(args) => args,
        other => panic!("not a generation: {other:?}"),
    }
}

#[test]
fn the_grammar_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_flag_has_a_help_text() {
    let mut cli = Cli::command();
    cli.build();
    let tools = cli
        .get_subcommands()
        .filter(|tool| tool.get_name() != "help");
    for command in std::iter::once(&cli).chain(tools) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} {}",
                command.get_name(),
                argument.get_id()
            );
        }
    }
}

#[test]
fn a_stage_alone_is_the_demo() {
    let args = train("--stage rl");
    assert!(args.is_demo());
    assert_eq!(
        (args.stage.stages(), args.device),
        (vec![StageName::Rl], DeviceName::Auto)
    );
    assert_eq!(
        (args.resume.clone(), args.tui),
        (Resume::Auto, TuiMode::Auto)
    );
    let raw = args.raw_recipe().expect("the demo's recipe");
    let earlier = for_stage(&raw, StageName::Cpt).expect("sound");
    let default = for_stage(&RawRecipe::new(), StageName::Cpt).expect("sound");
    assert_ne!(
        earlier.run.max_steps, default.run.max_steps,
        "the demo's own table"
    );
    assert!(!train("--stage rl --model m").is_demo());
}

#[test]
fn flags_override_the_recipe_of_the_named_stage() {
    let args = train(
        "--stage sft --model m --data a.jsonl --data b.jsonl --set seed=1 --set max_steps=9 \
         --set learning_rate=1e-3 --set rl.seed=8 --max-steps 4 --seed 7 --dtype float32",
    );
    let raw = args.raw_recipe().expect("sound flags");
    let recipe = for_stage(&raw, StageName::Sft).expect("a sound recipe");
    assert_eq!((recipe.run.max_steps, recipe.model.seed), (4, 7));
    assert_eq!(recipe.schedule.learning_rate, 1e-3);
    assert_eq!(recipe.model.dtype, Dtype::Float32);
    assert_eq!(recipe.model.model_name_or_path, Some("m".into()));
    assert_eq!(
        recipe.data.train_data,
        [PathBuf::from("a.jsonl"), "b.jsonl".into()]
    );
    let other = for_stage(&raw, StageName::Rl).expect("a sound recipe");
    assert_eq!(
        (other.model.seed, other.model.model_name_or_path),
        (8, None)
    );
}

#[test]
fn python_spellings_of_numbers_and_keys_of_other_stages_pass() {
    let args = train(
        "--stage po --model m --data d.jsonl --set shuffle=false --set packing=false \
         --set learning_rate=0.001 --set warmup_ratio=0 --set adam_epsilon=1e-08 --set lora_r=0 \
         --set dtype=float32 --set beta=0.1 --set loss_type=sigmoid --set use_weighting=true",
    );
    let raw = args.raw_recipe().expect("sound flags");
    let recipe = for_stage(&raw, StageName::Po).expect("a sound recipe");
    assert_eq!(recipe.optimizer.adam_epsilon, 1e-8);
    assert_eq!(recipe::unused_keys(&raw, StageName::Po).len(), 1, "packing");
}

#[test]
fn with_all_stages_the_model_is_for_the_first_and_data_is_refused() {
    let raw = train("--stage all --model m --max-steps 3")
        .raw_recipe()
        .expect("sound flags");
    let model = |stage| {
        for_stage(&raw, stage)
            .expect("sound")
            .model
            .model_name_or_path
    };
    assert_eq!(
        (model(StageName::Cpt), model(StageName::Sft)),
        (Some("m".into()), None)
    );
    assert_eq!(
        for_stage(&raw, StageName::Rl).expect("sound").run.max_steps,
        3
    );
    let errors = train("--stage all --data d")
        .raw_recipe()
        .expect_err("one file for four stages");
    assert!(errors.to_string().contains("[sft]"), "{errors}");
}

#[test]
fn no_stage_and_no_subcommand_shows_the_help_and_exits_with_2() {
    let error = refused("");
    assert_eq!(
        error.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    assert_eq!(error.exit_code(), 2);
    let error = refused("--model m");
    assert!(error.to_string().contains("--stage"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn usage_errors_exit_with_2_and_name_the_wrong_word() {
    for (line, says) in [
        ("--stage ppo", "ppo"),
        ("--stage sft --max-steps -1", "-1"),
        ("--stage sft --seed -1", "-1"),
        ("--stage sft --dtype fp8", "float32"),
        ("--stage sft --device tpu", "tpu"),
        ("score --model m --data d --device tpu", "cuda[:N]"),
        ("score --data d", "--model"),
        ("generate --model m", "--prompt"),
        ("generate --model m --prompt a --data d", "--data"),
        (
            "generate --model m --prompt a --temperature nan",
            "0 or more",
        ),
        ("generate --model m --prompt a --top-p 0", "above 0"),
        ("generate --model m --prompt a --num-samples 0", "1 or more"),
        ("metrics --hypotheses h --references r --metrics ter", "ter"),
        ("watch run --once --size 0x10", "COLSxROWS"),
        ("watch run --size 80x24", "--once"),
        ("report run --require loss=2", "METRIC>=NUMBER"),
        ("report run --require loss<high", "`high` is no number"),
        ("report run --format pdf", "html"),
        ("--stage sft score --model m --data d", "score"),
        ("fly", "fly"),
    ] {
        let error = refused(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(says), "{line}: {error}");
    }
}

#[test]
fn help_exits_with_0() {
    for line in ["--help", "-h", "score --help", "help generate", "--version"] {
        assert_eq!(refused(line).exit_code(), 0, "{line}");
    }
}

#[test]
fn resume_takes_a_word_or_a_folder() {
    assert_eq!(train("--stage sft --resume never").resume, Resume::Never);
    assert_eq!(
        train("--stage sft --resume runs/a").resume,
        Resume::From("runs/a".into())
    );
}

#[test]
fn generate_takes_a_prompt_or_a_file_and_is_greedy_unless_told() {
    let args = generate("generate --model m --prompt hello --raw");
    assert_eq!(args.prompts(), PromptSource::Text("hello"));
    assert!(args.raw && args.temperature == 0.0 && args.num_samples == 1);
    let args =
        generate("generate --model m --data d.jsonl --temperature 0.8 --top-k 5 --top-p 0.9");
    assert_eq!(args.prompts(), PromptSource::File("d.jsonl".as_ref()));
    assert_eq!((args.temperature, args.top_k, args.top_p), (0.8, 5, 0.9));
}

#[test]
fn metrics_are_a_list_with_commas() {
    let Command::Metrics(args) = parsed("metrics --hypotheses h --references r") else {
        panic!()
    };
    assert_eq!(
        args.metrics,
        [Metric::Bleu, Metric::Chrf, Metric::ChrfPlusPlus]
    );
    assert_eq!((args.tokenize, args.json), (Tokenization::Mteval13a, false));
    let line = "metrics --hypotheses h --references r --metrics chrf++ --tokenize zh --json";
    let Command::Metrics(args) = parsed(line) else {
        panic!("not metrics")
    };
    assert_eq!(
        (args.metrics, args.tokenize),
        (vec![Metric::ChrfPlusPlus], Tokenization::Zh)
    );
}

#[test]
fn watch_takes_a_size_for_one_frame() {
    let Command::Watch(args) = parsed("watch runs/a --once --size 120x40") else {
        panic!()
    };
    assert_eq!(
        args.size,
        Some(FrameSize {
            columns: 120,
            rows: 40
        })
    );
    assert!(args.once && args.run_dir.as_os_str() == "runs/a");
}

#[test]
fn a_report_takes_any_number_of_requirements() {
    let line = "report runs/a --format md --output - --require eval/chrf>=57 --require kl<0.1";
    let Command::Report(args) = parsed(line) else {
        panic!("not a report")
    };
    let metrics: Vec<&str> = args.require.iter().map(|r| r.metric.as_str()).collect();
    assert_eq!(metrics, ["eval/chrf", "kl"]);
    assert_eq!(args.format, ReportFormat::Md);
    assert_eq!(args.output, Some("-".into()));
}
