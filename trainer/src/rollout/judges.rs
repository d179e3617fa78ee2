//! What a recipe has completions judged by.

use rewards::{Registry, RewardError, Rubric, Verifier};
use serde_json::{Map, Value};

use super::Prompts;
use crate::TrainError;
use crate::recipe::RlSettings;

/// What `watch_metric` names: no reward of the recipe's, which its check has seen to, and none of a
/// record's.
///
/// # Errors
/// It is one, or unknown.
pub fn watched(settings: &RlSettings, prompts: &Prompts) -> Result<Option<Verifier>, TrainError> {
    let Some(name) = &settings.watch_metric else {
        return Ok(None);
    };
    if prompts.verifiers().contains(name) {
        return Err(TrainError::Usage(format!(
            "watch_metric = {name:?} is a verifier of train_data's records, and so a \
             reward\nhint: watch a metric that training does not see"
        )));
    }
    let verifier = Verifier::parse(name, &Value::Null);
    verifier.map(Some).map_err(|source| TrainError::Reward {
        place: "watch_metric".to_owned(),
        source,
    })
}

/// The reward functions of a recipe with their arguments, `reward_funcs` and `reward_args`; none where
/// records' own verifiers decide alone.
#[derive(Clone, Debug, Default)]
pub struct RewardFunctions(Vec<(String, Map<String, Value>)>);

impl RewardFunctions {
    /// Those of a recipe.
    pub fn of(settings: &RlSettings) -> Self {
        let functions = settings.reward_funcs.iter().map(|name| {
            let args = settings.reward_args.get(name).cloned();
            (name.clone(), args.unwrap_or_default())
        });
        RewardFunctions(functions.collect())
    }

    /// Those that judge a record beside its own verifiers, `own`. What a record without any says of its
    /// answer they get as well, each what it takes.
    ///
    /// # Errors
    /// One is unknown, or its arguments are wrong or missing.
    pub(super) fn beside(
        &self,
        own: &[&str],
        args: &Map<String, Value>,
    ) -> Result<Vec<Verifier>, RewardError> {
        let others = self.0.iter().filter(|(name, _)| !own.contains(&&**name));
        let calls: Vec<(&str, Value)> = others
            .map(|(name, given)| {
                let mut all = given.clone();
                all.extend(args.clone());
                (&**name, Value::Object(all))
            })
            .collect();
        Verifier::parse_all(calls.iter().map(|(name, args)| (*name, args)))
    }
}

/// The weight of each reward by name.
///
/// # Errors
/// There is no reward of a name.
pub fn rubric(settings: &RlSettings) -> Result<Rubric, TrainError> {
    let at = |place: &str| {
        let place = place.to_owned();
        move |source| TrainError::Reward { place, source }
    };
    let registry = Registry::standard();
    for name in &settings.reward_funcs {
        registry.check_name(name).map_err(at("reward_funcs"))?;
    }
    let mut rubric = Rubric::default();
    for (name, weight) in &settings.reward_weights {
        registry.check_name(name).map_err(at("reward_weights"))?;
        let weighed = rubric.weighing(name, *weight);
        rubric = weighed.map_err(at("reward_weights"))?;
    }
    Ok(rubric)
}
