//! `trainer report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tui::report::Requirement;

/// Write a run as a page to send to others, a table for a pull request, or an object for a program.
///
/// The page is one file: its charts, tables and samples are in it, it fetches nothing and needs no
/// script. RUN_DIR may have the stages of a run in it, as `--stage rl` leaves them; the page then has
/// a section for each.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  trainer report runs/sft\n  \
                       trainer report runs/sft --format md\n  \
                       trainer report runs/rl --require 'eval/chrf>=57' --require 'reward>0.5'\n\n\
                       Exit codes: 0 done, 1 a requirement does not hold, 2 the run has no such metric.")]
pub struct ReportArgs {
    /// The run's directory, which may be running, failed or not yet begun.
    #[arg(value_name = "RUN_DIR")]
    pub run_dir: PathBuf,

    /// Where to write; `-` is standard output. By default a page is RUN_DIR/report.html, and the
    /// other formats go to standard output.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// What to write.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: ReportFormat,

    /// What the last value of a metric has to be, such as 'eval/chrf>=57' or 'reward>0.5'. May be
    /// repeated.
    ///
    /// Metrics of an evaluation are named after it, as in held_out/chrf; eval stands for the latest
    /// one, and a group may follow, as in eval/en-de/chrf. Of several stages the last is asked.
    #[arg(long, value_name = "REQUIREMENT")]
    pub require: Vec<Requirement>,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    /// A page with charts and samples.
    #[default]
    Html,
    /// A short summary in Markdown.
    Md,
    /// One JSON object.
    Json,
}
