//! The schema: one row a key, declared together with the struct field that holds its value.
//!
//! The macro `settings!` turns a row such as
//! ```text
//! /// Decoupled weight decay of every trained parameter.
//! weight_decay: f64 = float(Included(0.0), Unbounded).default("0.01").except(Rl, "0");
//! ```
//! into a documented field and a [`Key`] with the same words. So a key is added in one place, and
//! none can be in the schema without being in a struct that somebody reads.

use std::ops::Bound;

use super::choices::StageName;
use super::kind::Kind;

/// The keys of one settings struct.
#[derive(Debug)]
pub struct Group {
    /// The heading over these keys in a resolved recipe.
    pub title: &'static str,
    /// The stages that use these keys.
    pub stages: &'static [StageName],
    /// The keys, in the order in which they are written.
    pub keys: &'static [Key],
}

/// One key of a recipe.
#[derive(Debug)]
pub struct Key {
    /// The name a recipe writes, in Hugging Face's or TRL's spelling where they have one.
    pub name: &'static str,
    /// What the key means, a line a piece.
    pub doc: &'static [&'static str],
    /// Its type, range and defaults.
    pub spec: Spec,
}

/// The type, range and defaults of a key.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// What values the key takes.
    pub kind: Kind,
    /// The default of each stage, in the order of [`StageName::ALL`].
    pub defaults: [DefaultValue; 4],
    /// Names of the same key in other programs, accepted as this one.
    pub aliases: &'static [&'static str],
    /// What to tell someone whose value was refused.
    pub hint: Option<&'static str>,
}

/// The value of a key that no layer of a recipe mentions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DefaultValue {
    /// No value: the struct's field is an `Option`.
    Unset,
    /// A value, as TOML.
    Toml(&'static str),
    /// The value that another key of the stage resolved to.
    Like(&'static str),
}

impl Key {
    /// Whether a recipe may call the key `name`.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.spec.aliases.contains(&name)
    }

    /// The key's default in a stage.
    pub fn default(&self, stage: StageName) -> DefaultValue {
        self.spec.defaults[stage as usize]
    }
}

impl Spec {
    /// A key of this kind, without a default.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            defaults: [DefaultValue::Unset; 4],
            aliases: &[],
            hint: None,
        }
    }

    /// The default of every stage, as TOML.
    pub const fn default(mut self, toml: &'static str) -> Self {
        self.defaults = [DefaultValue::Toml(toml); 4];
        self
    }

    /// The default of one stage, where it differs from the others'.
    pub const fn except(mut self, stage: StageName, toml: &'static str) -> Self {
        self.defaults[stage as usize] = DefaultValue::Toml(toml);
        self
    }

    /// Where the key is not given, it takes the value of the key `name`.
    pub const fn like(mut self, name: &'static str) -> Self {
        self.defaults = [DefaultValue::Like(name); 4];
        self
    }

    /// Other programs' names for the key.
    pub const fn aliases(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    /// What to tell someone whose value was refused.
    pub const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// A key that takes `true` or `false`.
pub(super) const fn boolean() -> Spec {
    Spec::new(Kind::Bool)
}

/// A key that takes a whole number from `min` to `max`.
pub(super) const fn integer(min: i64, max: i64) -> Spec {
    Spec::new(Kind::Integer(min, max))
}

/// A key that takes a number between two bounds.
pub(super) const fn float(min: Bound<f64>, max: Bound<f64>) -> Spec {
    Spec::new(Kind::Float(min, max))
}

/// A key that takes one of these words.
pub(super) const fn choice(words: &'static [&'static str]) -> Spec {
    Spec::new(Kind::Choice(words))
}

/// A key that takes one or several of these words.
pub(super) const fn choices(words: &'static [&'static str]) -> Spec {
    Spec::new(Kind::Choices(words))
}

/// A key that takes some of these words, or none.
pub(super) const fn subset(words: &'static [&'static str]) -> Spec {
    Spec::new(Kind::Subset(words))
}

/// Declares a settings struct and the schema of its keys: see the module's documentation.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident in $title:literal of $stages:expr => {
            $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $spec:expr;)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl $name {
            /// The schema of these keys.
            pub const GROUP: $crate::recipe::schema::Group = $crate::recipe::schema::Group {
                title: $title,
                stages: $stages,
                keys: &[$($crate::recipe::schema::Key {
                    name: stringify!($field),
                    doc: &[$($doc),+],
                    spec: $spec,
                }),+],
            };
        }
    };
}
pub(super) use settings;

/// The keys that a stage uses, group by group.
pub fn groups(stage: StageName) -> impl Iterator<Item = &'static Group> {
    super::GROUPS
        .iter()
        .filter(move |group| group.stages.contains(&stage))
}

/// The key that a stage reads under `name`, if it reads one.
pub fn find(stage: StageName, name: &str) -> Option<&'static Key> {
    groups(stage)
        .flat_map(|group| group.keys)
        .find(|key| key.is_called(name))
}

/// The stages that read a key called `name`, each with its key.
pub fn users(name: &str) -> impl Iterator<Item = (StageName, &'static Key)> {
    StageName::ALL
        .into_iter()
        .filter_map(move |stage| find(stage, name).map(|key| (stage, key)))
}
