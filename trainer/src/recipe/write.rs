//! The resolved recipe as a file, which says what every key means and can be run again.

use std::fmt::Write;

use toml::Value;

use super::choices::StageName;
use super::error::{RecipeError, RecipeErrors};
use super::kind::spelled;
use super::raw::{Layer, RawRecipe};
use super::schema::{self, DefaultValue, Key};
use super::{Recipe, for_stage};

impl Recipe {
    /// The recipe as TOML: one table named by the stage, every key with its meaning, its range and
    /// its default. It is a recipe file like any other; [`Recipe::from_toml`] gives back `self`.
    pub fn to_toml(&self) -> String {
        let stage = self.stage_name();
        let values = self.to_table();
        let mut text = format!(
            "# The resolved recipe of stage {stage}: every key the stage uses, with its value.\n\
             # It can be run again: trainer --stage {stage} --recipe THIS_FILE\n\n[{stage}]\n"
        );
        for group in schema::groups(stage) {
            write!(text, "\n# ---- {} ----\n", group.title).expect("a string takes text");
            for key in group.keys {
                text.push('\n');
                text.push_str(&explanation(key, stage));
                match values.get(key.name) {
                    Some(value) => writeln!(text, "{} = {}", key.name, spelled(value)),
                    None => writeln!(text, "# {} is not set.", key.name),
                }
                .expect("a string takes text");
            }
        }
        text
    }

    /// Reads what [`Recipe::to_toml`] wrote.
    ///
    /// # Errors
    /// If the text is no recipe, or has not exactly one stage's table and nothing else.
    pub fn from_toml(text: &str) -> Result<Self, RecipeErrors> {
        let raw = RawRecipe::parse("recipe.toml", text)?;
        let mut stages = raw.entries.iter().map(|entry| match entry.layer {
            Layer::StageTable => entry.stage,
            _ => None,
        });
        match stages.next().flatten() {
            Some(stage) if stages.all(|other| other == Some(stage)) => for_stage(&raw, stage),
            _ => {
                let message = "a resolved recipe has one table, [cpt], [sft], [po] or [rl]";
                Err(RecipeError::new(None, message).into())
            }
        }
    }
}

fn explanation(key: &Key, stage: StageName) -> String {
    let mut lines: String = key.doc.iter().map(|line| format!("#{line}\n")).collect();
    let default = match key.default(stage) {
        DefaultValue::Unset => "not set by default".to_owned(),
        DefaultValue::Like(other) => format!("by default {other}'s value"),
        DefaultValue::Toml(text) => {
            let value: Value = text.parse().expect("a default is TOML");
            format!("by default {}", spelled(&value))
        }
    };
    let kind = key.spec.kind.to_string();
    let (first, rest) = kind.split_at(1);
    writeln!(lines, "# {}{rest}; {default}.", first.to_uppercase()).expect("a string takes text");
    lines
}
