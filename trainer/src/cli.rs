//! The command line: what a user may type, parsed into types that cannot be wrong.
//!
//! `main` calls [`parse`] and matches on the [`Command`]. Usage errors never come back: clap prints
//! them and exits with 2.

mod compare;
mod control;
mod evaluate;
mod import;
mod inspect;
mod merge;
mod plan;
mod replay;
mod report;
mod tools;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use toml::Value;

use crate::recipe::{Dtype, Origin, RawRecipe, RecipeError, RecipeErrors, StageName};

pub use compare::{CompareArgs, SideName, UnknownSide};
pub use control::ControlArgs;
pub use evaluate::EvaluateArgs;
pub use import::ImportArgs;
pub use inspect::InspectArgs;
pub use kernels::device::{DeviceName, UnknownDevice};
pub use merge::MergeArgs;
pub use plan::PlanArgs;
pub use replay::ReplayArgs;
pub use report::{ReportArgs, ReportFormat};
pub use tools::{
    DoctorArgs, GenerateArgs, Metric, MetricsArgs, PromptSource, ScoreArgs, Tokenization, WatchArgs,
};
pub use values::{FrameSize, LogFormat, Resume, StageChoice, TuiMode};

use kernels::device::DEVICE_HELP;
use values::{dtype, path_value};

/// What the user asks for.
#[derive(Debug)]
pub enum Command {
    /// Run a stage, or all of them.
    Train(Box<TrainArgs>),
    /// Write the log-probability of every token of some texts.
    Score(ScoreArgs),
    /// Write completions.
    Generate(GenerateArgs),
    /// Measure a model on held-out files.
    Evaluate(EvaluateArgs),
    /// Compute BLEU, chrF and chrF++.
    Metrics(MetricsArgs),
    /// Show what a stage will really see of its data.
    Inspect(InspectArgs),
    /// Show a run in the terminal.
    Watch(WatchArgs),
    /// Ask a running trainer for something.
    Control(ControlArgs),
    /// Compare two devices or sets of kernels block by block.
    Compare(CompareArgs),
    /// Add up checkpoints.
    Merge(MergeArgs),
    /// Turn a configuration of TRL or axolotl into a recipe.
    Import(ImportArgs),
    /// Say what a recipe will take.
    Plan(PlanArgs),
    /// Run a recorded step again and compare.
    Replay(ReplayArgs),
    /// Write a run as a page, a table or an object.
    Report(ReportArgs),
    /// Say which devices work, and what others lack.
    Doctor(DoctorArgs),
}

/// Reads the program's own arguments. On `--help` and on a usage error it prints and exits, with 0
/// and 2.
pub fn parse() -> Command {
    command(Cli::parse())
}

/// Reads the given arguments, the first of which is the program's name.
///
/// # Errors
/// What clap would print.
pub fn try_parse_from<T: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = T>,
) -> Result<Command, clap::Error> {
    Cli::try_parse_from(arguments).map(command)
}

/// Train language models that translate superbly and keep their other skills.
#[derive(Debug, Parser)]
#[command(
    name = "trainer",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = EXAMPLES
)]
struct Cli {
    #[command(flatten)]
    train: Option<TrainArgs>,
    #[command(subcommand)]
    tool: Option<Tool>,
}

#[derive(Debug, Subcommand)]
enum Tool {
    Score(ScoreArgs),
    Generate(GenerateArgs),
    Evaluate(EvaluateArgs),
    Metrics(MetricsArgs),
    Inspect(InspectArgs),
    Watch(WatchArgs),
    Control(ControlArgs),
    Compare(CompareArgs),
    Merge(MergeArgs),
    Import(ImportArgs),
    Plan(PlanArgs),
    Replay(ReplayArgs),
    Report(ReportArgs),
    Doctor(DoctorArgs),
}

const EXAMPLES: &str = "\
Examples:
  trainer --stage rl                     the built-in demo, earlier stages first; needs no file
  trainer --stage sft --model gemma-2-2b-it --data chats.jsonl --output runs/sft
  trainer --stage po --recipe recipe.toml --set beta=0.05 --set max_length=1024
  trainer --stage all --recipe recipe.toml --output runs/tower
  trainer watch runs/sft
  trainer control runs/sft stop

Exit codes: 0 done, 1 failed, 2 usage or recipe, 3 diverged and stopped, 130 stopped by the user.";

/// Run a stage, or all of them.
#[derive(Debug, Clone, Args)]
pub struct TrainArgs {
    /// Stage to run: cpt (continued pre-training), sft (supervised fine-tuning), po (preference
    /// optimization), rl (reinforcement learning), or all of them in this order.
    ///
    /// With neither --recipe nor --model nor --data it is the built-in demo, which first runs the
    /// earlier stages whose checkpoints are missing.
    #[arg(long, value_name = "STAGE")]
    pub stage: StageChoice,

    /// Recipe file: keys for every stage at the top level, for one in its table, such as `[sft]`.
    #[arg(long, value_name = "FILE.toml")]
    pub recipe: Option<PathBuf>,

    /// Set a key of the recipe, such as learning_rate=1e-5 or rl.beta=0. May be repeated.
    ///
    /// The value is TOML, or else a string. Without a table the key is for the named stage. The
    /// recipe.toml of a run directory lists every key with its meaning, range and default.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Model to start from: a Hugging Face folder with config.json, safetensors and tokenizer.json.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,

    /// File to train on, JSON Lines. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub data: Vec<PathBuf>,

    /// Run directory of the stage. Stages that are run before it go to DIR/cpt, DIR/sft, DIR/po.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Where to compute.
    #[arg(long, value_name = "D", default_value_t, help = DEVICE_HELP)]
    pub device: DeviceName,

    /// Number format of the computation: auto, float32 or bfloat16.
    ///
    /// auto is bfloat16 on CUDA and float32 elsewhere. Master weights are always float32.
    #[arg(long, value_parser = dtype())]
    pub dtype: Option<Dtype>,

    /// Go on from the newest whole checkpoint of the output directory (auto), start afresh (never),
    /// or go on from a checkpoint (DIR).
    #[arg(long, value_name = "auto|never|DIR", default_value_t)]
    pub resume: Resume,

    /// Show the run in the terminal: where there is one (auto), always or never.
    ///
    /// The run is then a process of its own, and `q` or closing the terminal leaves it running:
    /// `trainer watch DIR` comes back, `trainer control DIR stop` ends it. What it says goes to
    /// DIR/trainer.log.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub tui: TuiMode,

    /// What standard error carries: sentences (text), or the lines of the event log (json).
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,

    /// Stop after this many optimizer steps.
    #[arg(long, value_name = "N")]
    pub max_steps: Option<u32>,

    /// Seed of everything random.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub seed: Option<i64>,
}

impl TrainArgs {
    /// Whether this is the built-in demo: no recipe, no model and no data.
    pub fn is_demo(&self) -> bool {
        self.recipe.is_none() && self.model.is_none() && self.data.is_empty()
    }

    /// All layers of the recipe: the file or the demo's, then `--set`, then the other flags, each
    /// for the named stage. With `--stage all` they are for every stage, but `--model` is for the
    /// first one, since each later stage starts from the one before it.
    ///
    /// # Errors
    /// If the recipe cannot be read, or `--data` is given for all stages.
    pub fn raw_recipe(&self) -> Result<RawRecipe, RecipeErrors> {
        let mut raw = match &self.recipe {
            Some(path) => RawRecipe::read(path)?,
            None if self.is_demo() => RawRecipe::demo(),
            None => RawRecipe::new(),
        };
        let named = self.stage.named();
        for assignment in &self.set {
            raw.set(named, assignment);
        }
        if let Some(model) = &self.model {
            let first = Some(self.stage.first());
            raw.flag(first, "--model", "model_name_or_path", path_value(model));
        }
        if !self.data.is_empty() {
            if named.is_none() {
                return Err(data_for_all_stages());
            }
            let files = self.data.iter().map(|file| path_value(file)).collect();
            raw.flag(named, "--data", "train_data", Value::Array(files));
        }
        if let Some(dtype) = self.dtype {
            raw.flag(named, "--dtype", "dtype", dtype.as_str());
        }
        if let Some(steps) = self.max_steps {
            raw.flag(named, "--max-steps", "max_steps", i64::from(steps));
        }
        if let Some(seed) = self.seed {
            raw.flag(named, "--seed", "seed", seed);
        }
        Ok(raw)
    }
}

fn data_for_all_stages() -> RecipeErrors {
    let stages: Vec<String> = StageName::ALL
        .iter()
        .map(|stage| format!("[{stage}]"))
        .collect();
    RecipeError {
        origin: Some(Origin::Flag("--data")),
        message: "each stage has data of its own, so `--stage all` cannot take it".to_owned(),
        hint: Some(format!(
            "write train_data into {} of a recipe",
            stages.join(", ")
        )),
    }
    .into()
}

fn command(cli: Cli) -> Command {
    match (cli.tool, cli.train) {
        (Some(Tool::Score(args)), _) => Command::Score(args),
        (Some(Tool::Generate(args)), _) => Command::Generate(args),
        (Some(Tool::Evaluate(args)), _) => Command::Evaluate(args),
        (Some(Tool::Metrics(args)), _) => Command::Metrics(args),
        (Some(Tool::Inspect(args)), _) => Command::Inspect(args),
        (Some(Tool::Watch(args)), _) => Command::Watch(args),
        (Some(Tool::Control(args)), _) => Command::Control(args),
        (Some(Tool::Compare(args)), _) => Command::Compare(args),
        (Some(Tool::Merge(args)), _) => Command::Merge(args),
        (Some(Tool::Import(args)), _) => Command::Import(args),
        (Some(Tool::Plan(args)), _) => Command::Plan(args),
        (Some(Tool::Replay(args)), _) => Command::Replay(args),
        (Some(Tool::Report(args)), _) => Command::Report(args),
        (Some(Tool::Doctor(args)), _) => Command::Doctor(args),
        (None, Some(args)) => Command::Train(Box::new(args)),
        (None, None) => unreachable!("clap asks for --stage where there is no subcommand"),
    }
}

#[cfg(test)]
mod tests;
