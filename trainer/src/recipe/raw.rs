//! A recipe as it was written: every layer that gives values, before anything is checked.

use std::path::Path;

use toml::Value;

use super::choices::StageName;
use super::error::{Origin, RecipeError, RecipeErrors};
use super::{schema, toml_file};

/// The layers of a recipe, as they were written. [`super::for_stage`] checks and resolves them.
#[derive(Debug, Clone, Default)]
pub struct RawRecipe {
    pub(super) entries: Vec<Entry>,
    /// What could not be read as an entry; reported together with what is wrong with the entries.
    pub(super) unreadable: Vec<RecipeError>,
}

/// One value that somebody wrote.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) layer: Layer,
    /// The stage it is for; `None` is every stage.
    pub(super) stage: Option<StageName>,
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The layers above the built-in defaults: a later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    TopLevel,
    StageTable,
    Set,
    Flag,
}

impl RawRecipe {
    /// A recipe that says nothing: the built-in defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The recipe of the demo, which is part of the program.
    pub fn demo() -> Self {
        let text = include_str!("../../../examples/recipes/demo/demo.toml");
        Self::parse("examples/recipes/demo/demo.toml", text)
            .unwrap_or_else(|errors| panic!("the demo's recipe does not parse: {errors}"))
    }

    /// Reads a recipe file.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML. Keys and values are checked by
    /// [`super::for_stage`].
    pub fn read(path: &Path) -> Result<Self, RecipeErrors> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text),
            Err(error) => {
                let message = format!("the recipe cannot be read: {error}");
                Err(RecipeError::new(Some(Origin::File(file)), message).into())
            }
        }
    }

    /// Reads the text of a recipe; `file` is what errors call it.
    ///
    /// # Errors
    /// If the text is not TOML.
    pub fn parse(file: &str, text: &str) -> Result<Self, RecipeErrors> {
        Ok(Self {
            entries: toml_file::entries(file, text)?,
            unreadable: Vec::new(),
        })
    }

    /// The stages that have a table of their own, in the order in which they are run.
    pub fn stages_with_a_table(&self) -> Vec<StageName> {
        let has_a_table = |stage: &StageName| {
            self.entries
                .iter()
                .any(|entry| entry.layer == Layer::StageTable && entry.stage == Some(*stage))
        };
        StageName::ALL.into_iter().filter(has_a_table).collect()
    }

    /// Adds a `--set key=value` or `--set rl.key=value`. Without a table it is for the stage
    /// `named` by `--stage`, or for every stage where that is `None` (`--stage all`).
    ///
    /// The value is TOML; where it is not, or where the key takes words, it is a string. A
    /// malformed assignment is reported by [`super::for_stage`] with everything else.
    pub fn set(&mut self, named: Option<StageName>, assignment: &str) {
        match assigned(named, assignment) {
            Ok(entry) => self.entries.push(entry),
            Err(error) => self.unreadable.push(error),
        }
    }

    /// Adds the value of another flag, for the stage `named` by `--stage` (`None`: every stage).
    pub fn flag(
        &mut self,
        named: Option<StageName>,
        flag: &'static str,
        key: &'static str,
        value: impl Into<Value>,
    ) {
        self.entries.push(Entry {
            layer: Layer::Flag,
            stage: named,
            key: key.to_owned(),
            value: value.into(),
            origin: Origin::Flag(flag),
        });
    }
}

fn assigned(named: Option<StageName>, assignment: &str) -> Result<Entry, RecipeError> {
    let wrong = |message: String| RecipeError::new(Some(Origin::Set), message);
    let Some((path, text)) = assignment.split_once('=') else {
        return Err(wrong(format!("`{assignment}` has no `=`"))
            .hint("write `--set key=value`, such as `--set learning_rate=1e-5`"));
    };
    let (path, text) = (path.trim(), text.trim());
    let (stage, key) = match path.split_once('.') {
        None => (named, path),
        Some((table, key)) => match table.parse() {
            Ok(stage) => (Some(stage), key),
            Err(_) if schema::users(table).next().is_some() => {
                return Err(
                    wrong(format!("`{path}`: a part of `{table}` cannot be set alone"))
                        .hint(format!("set `{table}` as a whole")),
                );
            }
            Err(unknown) => {
                return Err(wrong(format!("unknown table in `{path}`: {unknown}")).hint(
                    "keys are flat: `--set key=value`, or `--set rl.key=value` for one stage",
                ));
            }
        },
    };
    let value = set_value(key, text);
    let (key, origin) = (key.to_owned(), Origin::Set);
    Ok(Entry {
        layer: Layer::Set,
        stage,
        key,
        value,
        origin,
    })
}

/// The value of a `--set`: TOML, else a string. A key that takes words gets what was typed, so that
/// a model folder may be called `2026`.
fn set_value(key: &str, text: &str) -> Value {
    let typed = || Value::String(text.to_owned());
    let takes_words = schema::users(key).any(|(_, key)| key.spec.kind.is_text());
    match text.parse::<Value>() {
        Ok(value) if takes_words && !(value.is_str() || value.is_array()) => typed(),
        Ok(value) => value,
        Err(_) => typed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(assignment: &str) -> Entry {
        assigned(Some(StageName::Sft), assignment).expect("a sound assignment")
    }

    #[test]
    fn set_addresses_the_named_stage_or_the_table_it_names() {
        assert_eq!(set("seed=1").stage, Some(StageName::Sft));
        assert_eq!(set("rl.beta=0").stage, Some(StageName::Rl));
        assert_eq!(assigned(None, "seed=1").expect("sound").stage, None);
    }

    #[test]
    fn a_set_value_is_toml_and_else_a_string() {
        assert_eq!(set("learning_rate=1e-3").value, Value::Float(1e-3));
        assert_eq!(set("packing = false").value, Value::Boolean(false));
        assert_eq!(set("dtype=float32").value, Value::String("float32".into()));
        assert_eq!(
            set("dtype=\"float32\"").value,
            Value::String("float32".into())
        );
        assert_eq!(
            set("model_name_or_path=2026").value,
            Value::String("2026".into())
        );
        assert_eq!(
            set("train_data=[\"a\", \"b\"]")
                .value
                .as_array()
                .map(Vec::len),
            Some(2)
        );
        assert_eq!(set("learning_rate=").value, Value::String(String::new()));
        assert_eq!(
            set("train_data=a=b.jsonl").value,
            Value::String("a=b.jsonl".into())
        );
    }

    #[test]
    fn a_malformed_assignment_says_the_form() {
        for (assignment, says) in [
            ("seed", "no `=`"),
            (
                "optimizer.learning_rate=1",
                "`optimizer` is not one of cpt, sft, po, rl",
            ),
            (
                "reward_weights.chrf=1",
                "`reward_weights` cannot be set alone",
            ),
        ] {
            let error = assigned(None, assignment).expect_err(assignment);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
