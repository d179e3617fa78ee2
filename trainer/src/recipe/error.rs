//! What is wrong with a recipe, said to a person.

use std::fmt;

/// Everything that is wrong with a recipe, in the order of its layers. A program that meets it
/// exits with 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeErrors(Vec<RecipeError>);

/// One thing that is wrong with a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeError {
    /// Where it stands: `recipe.toml:3`, `--set`, `--max-steps`; `None` where layers together err.
    pub origin: Option<Origin>,
    /// What is wrong, with the key, its value and the range.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A recipe as a whole.
    File(String),
    /// A line of a recipe.
    Line(String, usize),
    /// A `--set`.
    Set,
    /// Another flag, such as `--max-steps`.
    Flag(&'static str),
}

impl RecipeErrors {
    /// The errors one by one; never none.
    pub fn iter(&self) -> impl Iterator<Item = &RecipeError> {
        self.0.iter()
    }

    /// `value` where nothing is wrong.
    pub(super) fn or(errors: Vec<RecipeError>) -> Result<(), Self> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Self(errors))
        }
    }
}

impl RecipeError {
    pub(super) fn new(origin: Option<Origin>, message: impl Into<String>) -> Self {
        Self {
            origin,
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<RecipeError> for RecipeErrors {
    fn from(error: RecipeError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for RecipeErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [error] = self.0.as_slice() {
            return error.fmt(f);
        }
        write!(f, "{} errors in the recipe", self.0.len())?;
        for error in &self.0 {
            write!(f, "\n  {}", error.to_string().replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Set => f.write_str("--set"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

impl std::error::Error for RecipeErrors {}
impl std::error::Error for RecipeError {}
