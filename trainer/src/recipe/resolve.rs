//! From the layers as written to a recipe without a gap or a mistake.

use std::collections::HashMap;
use std::fmt;

use toml::{Table, Value};

use super::alert_rule::AlertRule;
use super::choices::{
    ImportanceSamplingLevel, LrSchedulerType, MultiObjectiveAggregation, PolicyLossType,
    PreferenceLossType, SftLossType, StageName,
};
use super::error::{Origin, RecipeError, RecipeErrors};
use super::kind::{Kind, spelled};
use super::raw::{Entry, Layer, RawRecipe};
use super::schema::{self, DefaultValue, Key};
use super::settings::RunSettings;
use super::stage_settings::{PoSettings, RlSettings, StageSettings};
use super::{Recipe, import, nearest};

/// The recipe of one stage.
///
/// # Errors
/// All that is wrong with the layers: unknown keys, values of a wrong type or out of range, and
/// values that do not go together. Tables of other stages are checked too.
pub fn for_stage(raw: &RawRecipe, stage: StageName) -> Result<Recipe, RecipeErrors> {
    let mut given = given(raw, stage)?;
    weigh_pairs_of_dpo_alone(stage, &mut given);
    for key in schema::groups(stage).flat_map(|group| group.keys) {
        if let (false, DefaultValue::Toml(text)) =
            (given.contains_key(key.name), key.default(stage))
        {
            given.insert(key.name.to_owned(), built_in(key, text));
        }
    }
    for key in schema::groups(stage).flat_map(|group| group.keys) {
        if let (false, DefaultValue::Like(other)) =
            (given.contains_key(key.name), key.default(stage))
        {
            given.insert(key.name.to_owned(), given[other].clone());
        }
    }
    name_reward_weights(&mut given)?;
    let recipe = Recipe::from_table(stage, &given);
    RecipeErrors::or(disagreements(&recipe))?;
    Ok(recipe)
}

/// The losses that are not DPO's kind, or are not of pairs, come without WPO's weights unless the
/// recipe asks for them: with weights they would not be the losses that their names say.
fn weigh_pairs_of_dpo_alone(stage: StageName, given: &mut Table) {
    if stage != StageName::Po || given.contains_key("use_weighting") {
        return;
    }
    let losses = given.get("loss_type").and_then(Value::as_array);
    let mut names = losses.into_iter().flatten().filter_map(Value::as_str);
    let weighed = names.all(|name| match name.parse::<PreferenceLossType>() {
        Ok(loss) => loss.is_weighed(),
        Err(_) => true,
    });
    if !weighed {
        given.insert("use_weighting".to_owned(), Value::Boolean(false));
    }
}

/// A key that was given to a stage which does not use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedKey {
    /// The key, as it was written.
    pub key: String,
    /// Where it was written.
    pub origin: Origin,
    /// The stage that does not use it.
    pub stage: StageName,
    /// The stages that do.
    pub used_by: Vec<StageName>,
}

/// The keys that hold for a stage and that it does not use. They are no error, but worth a line.
pub fn unused_keys(raw: &RawRecipe, stage: StageName) -> Vec<UnusedKey> {
    let addressed = raw
        .entries
        .iter()
        .filter(|entry| entry.stage.unwrap_or(stage) == stage);
    let unused = addressed.filter_map(|entry| {
        let used_by: Vec<StageName> = schema::users(&entry.key).map(|(user, _)| user).collect();
        let known = !used_by.is_empty();
        (known && !used_by.contains(&stage)).then(|| UnusedKey {
            key: entry.key.clone(),
            origin: entry.origin.clone(),
            stage,
            used_by,
        })
    });
    unused.collect()
}

impl fmt::Display for UnusedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users: Vec<&str> = self.used_by.iter().map(|stage| stage.as_str()).collect();
        let (origin, key, stage) = (&self.origin, &self.key, self.stage);
        write!(
            f,
            "{origin}: stage {stage} does not use {key} (used by {})",
            users.join(", ")
        )
    }
}

/// What the layers give the stage, by the keys' own names.
fn given(raw: &RawRecipe, stage: StageName) -> Result<Table, RecipeErrors> {
    let mut entries: Vec<&Entry> = raw.entries.iter().collect();
    entries.sort_by_key(|entry| (entry.layer, entry.stage.is_some()));

    let (mut given, mut errors) = (Table::new(), raw.unreadable.clone());
    let mut givers: HashMap<&str, &Entry> = HashMap::new();
    for entry in entries {
        match checked(entry, stage) {
            Err(error) => errors.push(error),
            Ok(None) => {}
            Ok(Some((key, value))) => {
                given.insert(key.name.to_owned(), value);
                let earlier = givers.insert(key.name, entry);
                errors.extend(earlier.and_then(|earlier| given_twice(earlier, entry)));
            }
        }
    }
    RecipeErrors::or(errors)?;
    Ok(given)
}

/// The key and the value that an entry gives the stage: `None` if it is for other stages alone.
fn checked(entry: &Entry, stage: StageName) -> Result<Option<(&'static Key, Value)>, RecipeError> {
    let addressed = entry.stage.unwrap_or(stage);
    if let Some(key) = schema::find(addressed, &entry.key) {
        return match key.spec.kind.accept(&entry.value) {
            Some(value) => Ok((addressed == stage).then_some((key, value))),
            None => Err(refused(entry, addressed, key)),
        };
    }
    let mut users = schema::users(&entry.key);
    let Some((user, key)) = users.next() else {
        return Err(unknown(entry, addressed));
    };
    let used_somewhere = std::iter::once((user, key))
        .chain(users)
        .any(|(_, key)| key.spec.kind.accept(&entry.value).is_some());
    if used_somewhere {
        Ok(None)
    } else {
        Err(refused(entry, user, key))
    }
}

fn unknown(entry: &Entry, stage: StageName) -> RecipeError {
    let (what, hint) = match (&entry.value, entry.key.parse::<StageName>()) {
        (_, Ok(stage)) => ("key", format!("[{stage}] is a table of keys")),
        // A table of arguments is a key of another program.
        (Value::Table(_), _) if !entry.key.ends_with("_kwargs") => (
            "table",
            "the tables are [cpt], [sft], [po] and [rl]".to_owned(),
        ),
        _ => ("key", nearest::advice(stage, &entry.key, &entry.value)),
    };
    let message = format!("unknown {what} `{}`", entry.key);
    RecipeError::new(Some(entry.origin.clone()), message).hint(hint)
}

fn refused(entry: &Entry, stage: StageName, key: &Key) -> RecipeError {
    let (name, value, kind) = (key.name, spelled(&entry.value), key.spec.kind);
    let others = || schema::users(name).filter(|(_, other)| other.spec.kind != kind);
    let differs = if others().next().is_some() {
        format!(" in stage {stage}")
    } else {
        String::new()
    };
    let message = format!("{name} = {value} is not allowed{differs}: expected {kind}");
    let error = RecipeError::new(Some(entry.origin.clone()), message);
    let taker = others().find(|(_, other)| other.spec.kind.accept(&entry.value).is_some());
    match (key.spec.hint, taker) {
        (Some(hint), _) => error.hint(hint),
        (None, Some((other, _))) => {
            error.hint(format!("it is for stage {other}: write it under [{other}]"))
        }
        (None, None) => {
            let hint = word_hint(key, &entry.value)
                .or_else(|| import::advice::of_value(stage, name, &entry.value))
                .or_else(|| near_choice(key, &entry.value));
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
    }
}

/// The word that was probably meant, of a key that takes one.
fn near_choice(key: &Key, value: &Value) -> Option<String> {
    let (Kind::Choice(words), Some(word)) = (key.spec.kind, value.as_str()) else {
        return None;
    };
    let nearest = nearest::near_or_contained(word, words)?;
    Some(format!("the nearest to `{word}` is `{nearest}`"))
}

/// What is wrong with one of the words that a key was given.
fn word_hint(key: &Key, value: &Value) -> Option<String> {
    if key.spec.kind == Kind::AlertRules {
        let rules = words_of(value).into_iter();
        return rules
            .filter_map(|rule| rule.parse::<AlertRule>().err())
            .next();
    }
    let (word, nearest) = unknown_word(key, value)?;
    Some(format!("the nearest to `{word}` is `{nearest}`"))
}

/// The first word that a key of several words does not take, and the nearest one that it does.
fn unknown_word<'a>(key: &Key, value: &'a Value) -> Option<(&'a str, &'static str)> {
    let (Kind::Choices(words) | Kind::Subset(words)) = key.spec.kind else {
        return None;
    };
    let word = words_of(value)
        .into_iter()
        .find(|word| !words.contains(word))?;
    Some((word, nearest::nearest_word(word, words)?))
}

fn words_of(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        other => Vec::from_iter(other.as_str()),
    }
}

/// A file that gives a key under two of its names contradicts itself; TOML sees to one name.
fn given_twice(earlier: &Entry, later: &Entry) -> Option<RecipeError> {
    let same_table = earlier.layer == later.layer && earlier.stage == later.stage;
    let in_file = matches!(later.layer, Layer::TopLevel | Layer::StageTable);
    (same_table && in_file).then(|| {
        let (one, other, place) = (&earlier.key, &later.key, &earlier.origin);
        let message = format!("`{other}` is another name of `{one}`, which {place} gives already");
        RecipeError::new(Some(later.origin.clone()), message).hint("leave one of the two")
    })
}

fn built_in(key: &Key, text: &str) -> Value {
    let value = text
        .parse()
        .ok()
        .and_then(|value| key.spec.kind.accept(&value));
    value.unwrap_or_else(|| {
        panic!(
            "the default {text} of {} is not {}",
            key.name, key.spec.kind
        )
    })
}

/// Turns a list of reward weights into a table by the names of the reward functions.
fn name_reward_weights(given: &mut Table) -> Result<(), RecipeErrors> {
    let Some(Value::Array(weights)) = given.get("reward_weights") else {
        return Ok(());
    };
    let names = given["reward_funcs"]
        .as_array()
        .expect("checked by the schema");
    if weights.len() != names.len() {
        let (weights, names) = (&given["reward_weights"], &given["reward_funcs"]);
        let message = format!("reward_weights = {weights} does not match reward_funcs = {names}");
        return Err(RecipeError::new(None, message)
            .hint("give one weight for each function, or a table of name = weight")
            .into());
    }
    let names = names
        .iter()
        .map(|name| name.as_str().expect("checked by the schema").to_owned());
    let named: Table = names.zip(weights.iter().cloned()).collect();
    given.insert("reward_weights".to_owned(), Value::Table(named));
    Ok(())
}

/// Values that are sound alone and not together.
fn disagreements(recipe: &Recipe) -> Vec<RecipeError> {
    let mut errors = Vec::new();
    let schedule = &recipe.schedule;
    let stable = schedule.lr_scheduler_type == LrSchedulerType::WarmupStableDecay;
    if stable && schedule.warmup_steps == 0 && schedule.warmup_ratio + schedule.decay_ratio > 1.0 {
        let (warmup, decay) = (schedule.warmup_ratio, schedule.decay_ratio);
        let message = format!(
            "warmup_ratio = {warmup} and decay_ratio = {decay} together are more than the whole run"
        );
        errors.push(RecipeError::new(None, message).hint("their sum may be 1 at most"));
    }
    if let StageSettings::Sft(sft) = &recipe.stage
        && sft.loss_type == SftLossType::Dft
        && sft.label_smoothing > 0.0
    {
        let message = "loss_type = \"dft\" weighs a target by its probability, and \
                       label_smoothing spreads it over all";
        errors.push(RecipeError::new(None, message).hint("set one of the two"));
    }
    if recipe.model.stream_frozen_blocks && recipe.model.lora_r == 0 {
        let message = "stream_frozen_blocks = true, and no block is frozen";
        errors.push(RecipeError::new(None, message).hint("set lora_r above 0, which freezes them"));
    }
    if let StageSettings::Rl(rl) = &recipe.stage
        && recipe.model.stream_frozen_blocks
        && rl.one_step_off_policy
    {
        let message = "one_step_off_policy = true reads the model beside training, and \
                       stream_frozen_blocks = true reads a block at a time for one of them";
        errors.push(RecipeError::new(None, message).hint("set one of the two to false"));
    }
    if let StageSettings::Rl(rl) = &recipe.stage
        && rl.use_adaptive_entropy
        && !(rl.entropy_coef_min..=rl.entropy_coef_max).contains(&rl.entropy_coef)
    {
        let (coef, min, max) = (rl.entropy_coef, rl.entropy_coef_min, rl.entropy_coef_max);
        let message = format!(
            "entropy_coef = {coef} is not from entropy_coef_min = {min} to entropy_coef_max = {max}"
        );
        errors.push(RecipeError::new(None, message).hint("it begins there and stays between them"));
    }
    if let StageSettings::Po(po) = &recipe.stage {
        errors.extend(preference_disagreements(po));
        let step_size =
            recipe.data.per_device_train_batch_size * recipe.data.gradient_accumulation_steps;
        if po.loss_type.contains(&PreferenceLossType::Kto) && step_size < 2 {
            let message = "loss_type = \"kto\" compares answers with those to other prompts of the \
                           step, and a step has one record";
            let hint = "raise per_device_train_batch_size or gradient_accumulation_steps";
            errors.push(RecipeError::new(None, message).hint(hint));
        }
    }
    if let StageSettings::Rl(rl) = &recipe.stage {
        errors.extend(policy_disagreements(rl));
    }
    if let StageSettings::Rl(rl) = &recipe.stage {
        let given = rl.reward_args.keys();
        for name in given.filter(|name| !rl.reward_funcs.contains(name)) {
            let message = format!("reward_args has `{name}`, which is not in reward_funcs");
            let hint = "add it there, or give a record's own verifier its arguments in the record";
            errors.push(RecipeError::new(None, message).hint(hint));
        }
    }
    if let StageSettings::Rl(rl) = &recipe.stage
        && !rl.reward_funcs.is_empty()
    {
        for name in rl
            .reward_weights
            .keys()
            .filter(|name| !rl.reward_funcs.contains(name))
        {
            let message = format!("reward_weights has `{name}`, which is not in reward_funcs");
            let hint = format!("reward_funcs are {}", rl.reward_funcs.join(", "));
            errors.push(RecipeError::new(None, message).hint(hint));
        }
    }
    if let StageSettings::Rl(rl) = &recipe.stage {
        errors.extend(unwatchable(recipe, rl));
    }
    errors.extend(unjudgeable(&recipe.run));
    errors.extend(unanswerable(recipe));
    errors
}

fn preference_disagreements(po: &PoSettings) -> Vec<RecipeError> {
    use PreferenceLossType::{Aot, AotUnpaired, Cpo, CpoHinge, ExoPair};
    let mut errors = Vec::new();
    let has = |loss| po.loss_type.contains(&loss);
    if !po.loss_weights.is_empty() && po.loss_weights.len() != po.loss_type.len() {
        let (weights, losses) = (po.loss_weights.len(), po.loss_type.len());
        let message = format!("loss_weights has {weights} numbers for {losses} losses");
        errors.push(RecipeError::new(None, message).hint("give one weight for each of loss_type"));
    }
    if !po.loss_weights.is_empty() && po.loss_weights.iter().all(|weight| *weight == 0.0) {
        let message = "loss_weights are all 0, and nothing is left to learn from";
        let hint =
            "give a loss of loss_type a weight, or leave loss_weights out: each then weighs 1";
        errors.push(RecipeError::new(None, message).hint(hint));
    }
    if has(ExoPair) && po.label_smoothing == 0.0 {
        let message = "loss_type = \"exo_pair\" needs label_smoothing above 0";
        errors.push(RecipeError::new(None, message).hint("its authors use 1e-3"));
    }
    if po.alpha != 0.0 && (has(Cpo) || has(CpoHinge)) {
        let message = format!(
            "alpha = {} bends the mean log-probability of an answer, and cpo and cpo_hinge take the sum",
            po.alpha
        );
        errors.push(RecipeError::new(None, message).hint("set loss_type = \"alphapo\""));
    }
    if po.use_weighting && (has(Aot) || has(AotUnpaired)) {
        let message = "use_weighting weighs pairs, and aot compares distributions of answers";
        errors.push(RecipeError::new(None, message).hint("set use_weighting = false"));
    }
    errors
}

/// Answers to held-out questions where nothing is held out.
fn unanswerable(recipe: &Recipe) -> Option<RecipeError> {
    let count = match &recipe.stage {
        StageSettings::Cpt(cpt) => cpt.eval_generate,
        StageSettings::Sft(sft) => sft.eval_generate,
        StageSettings::Po(po) => po.eval_generate,
        StageSettings::Rl(_) => 0,
    };
    (count > 0 && recipe.data.eval_data.is_empty()).then(|| {
        let message = format!("eval_generate = {count} needs held-out records");
        RecipeError::new(None, message).hint("name files in eval_data")
    })
}

/// A watched metric that nothing measures, or that is a reward.
fn unwatchable(recipe: &Recipe, rl: &RlSettings) -> Option<RecipeError> {
    let metric = rl.watch_metric.as_ref()?;
    let error = |why: &str, hint: &str| {
        let message = format!("watch_metric = {metric:?} {why}");
        Some(RecipeError::new(None, message).hint(hint))
    };
    let is_reward = rl.reward_funcs.contains(metric) || rl.reward_weights.contains_key(metric);
    if is_reward {
        return error(
            "is a reward too",
            "watch a metric that training does not see, or take it out of reward_funcs",
        );
    }
    if recipe.data.eval_data.is_empty() {
        return error("needs held-out prompts", "name files in eval_data");
    }
    if recipe.run.eval_steps == 0 {
        return error(
            "is looked at in evaluations, and eval_steps = 0",
            "set eval_steps to the steps between evaluations",
        );
    }
    None
}

/// A best checkpoint or an early end that nothing could decide on.
fn unjudgeable(run: &RunSettings) -> Option<RecipeError> {
    let error = |message: String, hint: &str| Some(RecipeError::new(None, message).hint(hint));
    let patience = run.early_stopping_patience;
    match &run.metric_for_best_model {
        None if patience > 0 => error(
            format!("early_stopping_patience = {patience} needs a metric to judge by"),
            "set metric_for_best_model, such as eval/loss",
        ),
        Some(_) if patience > 0 && run.eval_steps == 0 => error(
            format!("early_stopping_patience = {patience} counts evaluations, and eval_steps = 0"),
            "set eval_steps to the steps between evaluations",
        ),
        Some(metric) if run.direction().is_none() => error(
            format!("metric_for_best_model = {metric:?} does not say which way is better"),
            "set greater_is_better to true or false",
        ),
        _ => None,
    }
}

fn policy_disagreements(rl: &RlSettings) -> Vec<RecipeError> {
    let mut errors = Vec::new();
    let mut error = |message: String, hint: &str| {
        errors.push(RecipeError::new(None, message).hint(hint));
    };
    if rl.loss_type == PolicyLossType::Cispo && rl.epsilon_high < 1.0 {
        error(
            format!(
                "epsilon_high = {} bounds CISPO's weights below 1",
                rl.epsilon_high
            ),
            "with loss_type = \"cispo\" it is the bound itself: its authors use 5.0",
        );
    }
    if let Some(delta) = rl.delta
        && delta <= 1.0 + rl.epsilon_high
    {
        error(
            format!(
                "delta = {delta} is below 1 + epsilon_high = {}",
                1.0 + rl.epsilon_high
            ),
            "it bounds what the clip leaves: set it above",
        );
    }
    let rloo = rl.loss_type == PolicyLossType::Rloo;
    let vespo = rl.loss_type == PolicyLossType::Vespo;
    let sequence = rl.importance_sampling_level == ImportanceSamplingLevel::Sequence;
    let normalize = rl.multi_objective_aggregation == MultiObjectiveAggregation::NormalizeThenSum;
    if rloo && (sequence || normalize) {
        error(
            "loss_type = \"rloo\" has its own ratio and advantages".to_owned(),
            "leave importance_sampling_level and multi_objective_aggregation out",
        );
    }
    if rl.normalize_advantages && !rloo {
        error(
            format!(
                "normalize_advantages = true divides the advantages of rloo, and loss_type = \"{}\" \
                 does not read it",
                rl.loss_type
            ),
            "leave it out, as scale_rewards divides these, or set loss_type = \"rloo\"",
        );
    }
    if vespo && sequence {
        error(
            "loss_type = \"vespo\" takes the ratio of whole completions by itself".to_owned(),
            "leave importance_sampling_level out",
        );
    }
    errors
}
