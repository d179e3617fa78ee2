use std::path::PathBuf;

use clap::Args;

use super::values::stage;
use crate::recipe::StageName;
use crate::recipe::import::Program;

/// Turn a configuration of TRL or axolotl into a recipe.
///
/// Reads the YAML that `trl sft --config FILE` or `axolotl train FILE` takes. The recipe goes to
/// standard output. Standard error lists every key that was not carried, and why: Keep does not need
/// it, has no equivalent, does not have it yet, or does not know it. Where the other program's
/// default is not Keep's, the recipe says it.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  trainer import trl dpo.yaml --output recipe.toml\n  \
                             trainer import axolotl lora.yml > recipe.toml"
)]
pub struct ImportArgs {
    /// The program the configuration is for.
    #[arg(value_enum, value_name = "trl|axolotl")]
    pub program: Program,

    /// The configuration, in YAML.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Write the recipe to this file, which does not exist yet, instead of standard output.
    #[arg(long, value_name = "FILE.toml")]
    pub output: Option<PathBuf>,

    /// Stage that the configuration is for: cpt, sft, po or rl. Inferred from its keys where it is
    /// not given.
    #[arg(long, value_name = "STAGE", value_parser = stage())]
    pub stage: Option<StageName>,
}
