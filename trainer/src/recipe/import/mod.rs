//! Recipes from the configurations of TRL and axolotl.
//!
//! Each program has a table, `trl::ROWS` and `axolotl::ROWS`, that says what becomes of a key. A
//! key that is in neither table and that Keep knows is carried by its name, and so is one that a row
//! names: the schema decides whether Keep has it and takes the value, so a key that Keep learns is
//! carried from then on. What is not carried becomes a [`Note`].

pub(super) mod advice;
mod axolotl;
mod carrier;
mod convert;
mod datasets;
mod rule;
#[cfg(test)]
mod tests;
mod trl;
mod written;
mod yaml;

use std::fmt;

use clap::ValueEnum;

use super::{RawRecipe, RecipeErrors, StageName, for_stage};
use carrier::Carrier;
use rule::{Default, Row};
use yaml::Item;

/// The programs whose configurations are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// TRL: the arguments of its SFT, DPO and GRPO scripts.
    Trl,
    /// axolotl.
    Axolotl,
}

/// A recipe, and what it could not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The stage that it is for.
    pub stage: StageName,
    /// The recipe's text; it resolves.
    pub toml: String,
    /// Keys of the configuration in it.
    pub num_carried: usize,
    /// Keys that were not carried, or changed, in the order of the file.
    pub notes: Vec<Note>,
}

/// What became of a key, where the recipe does not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its line in the configuration.
    pub line: usize,
    /// The key.
    pub key: String,
    /// Its value, shortened.
    pub value: String,
    /// Whether it is in the recipe all the same.
    pub carried: bool,
    /// Why, in one line.
    pub why: String,
}

/// Why a configuration gives no recipe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The file is not YAML.
    #[error("{file}:{line}: not YAML: {problem}")]
    Yaml {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// The file has no keys at its top.
    #[error("{file}: no keys\nhint: a configuration is a list of `key: value` lines")]
    NoKeys {
        /// The file.
        file: String,
    },
    /// Nothing says what is trained.
    #[error(
        "{file}: none of its keys says which stage it is for\nhint: pass --stage sft, po or rl; an \
         ORPOConfig of TRL has no key of its own: add the line `loss_type: orpo`"
    )]
    NoStage {
        /// The file.
        file: String,
    },
    /// The keys are sound alone and not together.
    #[error("{file}: the recipe it gives does not hold together: {errors}")]
    Disagreement {
        /// The file.
        file: String,
        /// What the recipe's check says.
        errors: RecipeErrors,
    },
}

impl Program {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Program::Trl => "TRL",
            Program::Axolotl => "axolotl",
        }
    }

    fn rows(self) -> &'static [Row] {
        match self {
            Program::Trl => trl::ROWS,
            Program::Axolotl => axolotl::ROWS,
        }
    }

    fn defaults(self) -> &'static [Default] {
        match self {
            Program::Trl => trl::DEFAULTS,
            Program::Axolotl => axolotl::DEFAULTS,
        }
    }
}

/// The recipe of a configuration; `file` is what errors call it.
///
/// # Errors
/// The text is not YAML, its stage is not to be found out, or its values contradict one another.
pub fn import(
    program: Program,
    file: &str,
    text: &str,
    stage: Option<StageName>,
) -> Result<Imported, ImportError> {
    let items = yaml::read(file, text)?;
    let inferred = match program {
        Program::Trl => trl::stage(&items),
        Program::Axolotl => axolotl::stage(&items),
    };
    let stage = stage.or(inferred).ok_or_else(|| ImportError::NoStage {
        file: file.to_owned(),
    })?;
    let mut carrier = Carrier::new(program, stage, &items);
    carrier.carry_all(program.rows());
    convert::default_batch(&mut carrier);
    if program == Program::Trl {
        trl::remark_on_an_untold_loss(&mut carrier);
        carrier.add_defaults(trl::own_defaults(&items));
    }
    carrier.add_defaults(program.defaults());
    let (carried, mut notes) = carrier.finish();
    notes.sort_by_key(|note| note.line);
    let toml = written::recipe(program, file, stage, &carried);
    RawRecipe::parse(file, &toml)
        .and_then(|raw| for_stage(&raw, stage))
        .map_err(|errors| ImportError::Disagreement {
            file: file.to_owned(),
            errors,
        })?;
    Ok(Imported {
        stage,
        num_carried: carried.values().filter(|c| !c.is_default()).count(),
        toml,
        notes,
    })
}

/// `LINE: key = value: why`, behind the file's name and a colon.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Note {
            line, key, value, ..
        } = self;
        let verdict = if self.carried {
            "carried"
        } else {
            "not carried"
        };
        write!(f, "{line}: {key} = {value}: {verdict}, {}", self.why)
    }
}

/// The value of a key at the top of a configuration, unless it is null.
fn value_of<'a>(items: &'a [Item], key: &str) -> Option<&'a yaml::Yaml> {
    let item = items.iter().find(|item| item.key == key)?;
    (item.value != yaml::Yaml::Null).then_some(&item.value)
}
