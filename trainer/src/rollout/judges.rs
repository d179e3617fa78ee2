//! What a recipe has completions judged by.

use rewards::{Registry, RewardSpec, Rubric, Verifier};
use serde_json::Value;

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

/// The reward functions of a recipe, each with its weight.
///
/// # Errors
/// One of them is unknown.
pub fn rubric(settings: &RlSettings) -> Result<Rubric, TrainError> {
    let mut names = settings.reward_funcs.clone();
    for name in settings.reward_weights.keys() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let specs: Vec<RewardSpec> = names
        .into_iter()
        .map(|name| RewardSpec {
            weight: settings.reward_weights.get(&name).copied().unwrap_or(1.0),
            args: Value::Null,
            name,
        })
        .collect();
    Rubric::parse(&Registry::standard(), &specs, &[]).map_err(|source| TrainError::Reward {
        place: "reward_funcs".to_owned(),
        source,
    })
}
