//! From a verifier's name and arguments to a function.

use crate::args::Args;
use crate::error::{RewardError, nearest};
use crate::{Attempt, RewardFn, verifiers};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// A named reward function with its arguments read and checked; cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    name: String,
    function: Arc<dyn RewardFn>,
}

impl Verifier {
    /// The verifier of that name among those that ship, e.g. `Verifier::parse("regex", &json!({"pattern": "^\\d+$"}))`.
    ///
    /// Done once per record, when prompts are loaded: everything that can be wrong is an error here.
    pub fn parse(name: &str, args: &Value) -> Result<Self, RewardError> {
        STANDARD.parse(name, args)
    }

    /// Several of those that ship: see [`Registry::parse_all`].
    pub fn parse_all<'a>(
        calls: impl IntoIterator<Item = (&'a str, &'a Value)>,
    ) -> Result<Vec<Self>, RewardError> {
        STANDARD.parse_all(calls)
    }

    /// A reward function of your own under the name its metrics will have.
    pub fn new(name: impl Into<String>, function: impl RewardFn + 'static) -> Self {
        Self {
            name: name.into(),
            function: Arc::new(function),
        }
    }

    /// The name, as in `rewards/<name>/mean`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The reward of an attempt, or `None` where there is nothing to judge.
    pub fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        self.function.score(attempt)
    }

    /// Checks, when a record is loaded, that this verifier will have a right answer to compare with.
    pub fn check_reference(&self, reference: Option<&str>) -> Result<(), RewardError> {
        if reference.is_none() && self.function.needs_reference() {
            return Err(RewardError::MissingReference {
                verifier: self.name.clone(),
            });
        }
        Ok(())
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Verifier").field(&self.name).finish()
    }
}

/// Reads a verifier's arguments into the function.
type Constructor = Arc<dyn Fn(&mut Args) -> Result<Box<dyn RewardFn>, RewardError> + Send + Sync>;

/// The verifiers known by name.
#[derive(Clone, Default)]
pub struct Registry(Vec<(String, Constructor)>);

static STANDARD: LazyLock<Registry> = LazyLock::new(Registry::standard);

impl Registry {
    /// The verifiers that ship with Keep; [`crate::verifiers`] describes each.
    pub fn standard() -> Self {
        let mut registry = Self::default();
        verifiers::register(&mut registry);
        registry
    }

    /// Makes a verifier known; a later one takes the name of an earlier.
    pub fn register<F>(&mut self, name: &str, constructor: F)
    where
        F: Fn(&mut Args) -> Result<Box<dyn RewardFn>, RewardError> + Send + Sync + 'static,
    {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), Arc::new(constructor)));
    }

    /// The names, in the order of registration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// # Errors
    /// No verifier has this name.
    pub fn check_name(&self, name: &str) -> Result<(), RewardError> {
        self.constructor(name).map(|_| ())
    }

    /// The verifier called `name` with its arguments.
    pub fn parse(&self, name: &str, args: &Value) -> Result<Verifier, RewardError> {
        let (verifier, args) = self.construct(name, args)?;
        args.finish(&[])?;
        Ok(verifier)
    }

    /// A record's verifiers, each with its arguments. Where they share one object, an argument is unknown
    /// only if none of them takes it.
    pub fn parse_all<'a>(
        &self,
        calls: impl IntoIterator<Item = (&'a str, &'a Value)>,
    ) -> Result<Vec<Verifier>, RewardError> {
        let constructed: Result<Vec<_>, _> = calls
            .into_iter()
            .map(|(name, args)| self.construct(name, args))
            .collect();
        let (verifiers, args): (Vec<_>, Vec<_>) = constructed?.into_iter().unzip();
        let asked: Vec<&str> = args.iter().flat_map(|args| args.asked()).copied().collect();
        args.into_iter().try_for_each(|args| args.finish(&asked))?;
        Ok(verifiers)
    }

    fn constructor(&self, name: &str) -> Result<&Constructor, RewardError> {
        let found = self.0.iter().find(|(known, _)| known == name);
        let unknown = || RewardError::UnknownVerifier {
            name: name.to_owned(),
            nearest: nearest(name, self.names()),
            known: self.names().collect::<Vec<_>>().join(", "),
        };
        found
            .map(|(_, constructor)| constructor)
            .ok_or_else(unknown)
    }

    /// The function of a verifier that another one asks, whose arguments it takes from the same object.
    pub(crate) fn function(
        &self,
        name: &str,
        args: &mut Args,
    ) -> Result<Box<dyn RewardFn>, RewardError> {
        (self.constructor(name)?)(args)
    }

    fn construct(&self, name: &str, args: &Value) -> Result<(Verifier, Args), RewardError> {
        let constructor = self.constructor(name)?;
        let mut args = Args::new(name, args);
        let function = constructor(&mut args)?.into();
        Ok((
            Verifier {
                name: name.to_owned(),
                function,
            },
            args,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unknown_verifier_is_named_with_the_nearest_and_all() {
        let message = Verifier::parse("exact_mach", &json!({}))
            .unwrap_err()
            .in_record("prompts.jsonl:7")
            .to_string();
        assert!(message.starts_with("prompts.jsonl:7: unknown verifier \"exact_mach\", did you mean \"exact_match\"?; known: exact_match, "), "{message}");
        let message = Verifier::parse("nope", &json!({})).unwrap_err().to_string();
        assert!(
            message.starts_with("unknown verifier \"nope\"; known:"),
            "{message}"
        );
    }

    #[test]
    fn verifiers_of_one_record_may_share_their_args() {
        let registry = Registry::standard();
        let shared = json!({"ground_truth": "x", "max": 5, "unit": "words"});
        let both = registry
            .parse_all([("chrf", &shared), ("length", &shared)])
            .unwrap();
        assert_eq!(
            both.iter().map(Verifier::name).collect::<Vec<_>>(),
            ["chrf", "length"]
        );
        let misspelt = json!({"ground_truth": "x", "max": 5, "unti": "words"});
        let error = registry
            .parse_all([("chrf", &misspelt), ("length", &misspelt)])
            .unwrap_err();
        assert!(
            error.to_string().contains("unknown argument \"unti\""),
            "{error}"
        );
    }

    #[test]
    fn a_ground_truth_is_fine_with_every_verifier() {
        let args = json!({"ground_truth": "x"});
        assert!(Verifier::parse("ends_properly", &args).is_ok());
        assert!(Verifier::parse("ends_properly", &json!({"truth": "x"})).is_err());
    }

    #[test]
    fn a_verifier_that_compares_asks_for_a_reference() {
        let without = Verifier::parse("chrf", &json!({})).unwrap();
        assert!(
            without
                .check_reference(None)
                .unwrap_err()
                .to_string()
                .contains("ground_truth")
        );
        assert!(without.check_reference(Some("x")).is_ok());
        assert!(
            Verifier::parse("chrf", &json!("x"))
                .unwrap()
                .check_reference(None)
                .is_ok()
        );
    }

    #[test]
    fn a_closure_is_a_reward_function() {
        let mut registry = Registry::standard();
        registry.register("shout", |_| {
            Ok(Box::new(|a: &Attempt<'_>| {
                Some(f64::from(u8::from(a.completion.ends_with('!'))))
            }))
        });
        let verifier = registry.parse("shout", &json!({})).unwrap();
        assert_eq!(verifier.score(&Attempt::new("", "hey!")), Some(1.0));
        assert!(registry.parse("shout", &json!({"loud": 1})).is_err());
    }
}
