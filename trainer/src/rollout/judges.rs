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
    verifier
        .map(Some)
        .map_err(|error| of_recipe("watch_metric", error))
}

/// The reward functions of a recipe with their arguments, `reward_funcs` and `reward_args`; none where
/// records' own verifiers decide alone.
#[derive(Clone, Debug, Default)]
pub struct RewardFunctions(Vec<Function>);

#[derive(Clone, Debug)]
struct Function {
    name: String,
    args: Map<String, Value>,
    /// Made from these arguments alone; an error where a record has to add to them.
    alone: Result<Verifier, RewardError>,
}

impl RewardFunctions {
    /// Those of a recipe.
    ///
    /// # Errors
    /// One is unknown, or has an argument that it does not take.
    pub fn of(settings: &RlSettings) -> Result<Self, TrainError> {
        let function = |name: &String| {
            let args = settings.reward_args.get(name).cloned().unwrap_or_default();
            let alone = Verifier::parse(name, &Value::Object(args.clone()));
            match alone {
                Err(
                    error @ (RewardError::UnknownVerifier { .. }
                    | RewardError::UnknownArgument { .. }),
                ) => Err(of_recipe("reward_funcs", error)),
                alone => Ok(Function {
                    name: name.clone(),
                    args,
                    alone,
                }),
            }
        };
        let functions: Result<_, _> = settings.reward_funcs.iter().map(function).collect();
        functions.map(RewardFunctions)
    }

    /// Those that judge a record beside its own verifiers, `own`. What a record without any says of its
    /// answer they get as well, each what it takes.
    ///
    /// # Errors
    /// The arguments of one are wrong or missing.
    pub(super) fn beside(
        &self,
        own: &[&str],
        args: &Map<String, Value>,
    ) -> Result<Vec<Verifier>, RewardError> {
        let others = self.0.iter().filter(|f| !own.contains(&&*f.name));
        if args.is_empty() {
            return others.map(|function| function.alone.clone()).collect();
        }
        let with_own = |function: &Function| {
            let mut all = function.args.clone();
            all.extend(args.clone());
            Value::Object(all)
        };
        let calls: Vec<(&str, Value)> = others.map(|f| (&*f.name, with_own(f))).collect();
        Verifier::parse_all(calls.iter().map(|(name, args)| (*name, args)))
    }
}

/// The weight of each reward by name.
///
/// # Errors
/// There is no reward of a name.
pub fn rubric(settings: &RlSettings) -> Result<Rubric, TrainError> {
    let registry = Registry::standard();
    for name in settings.reward_weights.keys() {
        let known = registry.check_name(name);
        known.map_err(|error| of_recipe("reward_weights", error))?;
    }
    Ok(Rubric::new(settings.reward_weights.clone()))
}

fn of_recipe(key: &str, source: RewardError) -> TrainError {
    TrainError::Reward {
        place: key.to_owned(),
        source,
    }
}
