//! Keys that mean more than a table of names can say.

use super::carrier::Carrier;
use super::yaml::{Item, Yaml};
use super::{Program, trl};
use crate::recipe::StageName;

/// transformers' schedules by the name of Keep's.
pub(super) const SCHEDULES: &[(&str, &str)] = &[
    ("constant_with_warmup", "constant"),
    ("cosine_with_min_lr", "cosine"),
    ("cosine_warmup_with_min_lr", "cosine"),
];

/// What stands beside Keep's name of a schedule.
pub(super) fn beside(schedule: &str) -> Option<&'static str> {
    match schedule {
        "cosine_with_min_lr" | "cosine_warmup_with_min_lr" => {
            Some(", and min_lr_ratio, where it ends as a share of learning_rate")
        }
        "constant_with_warmup" => Some(", and warmup_ratio or warmup_steps"),
        _ => None,
    }
}

/// Optimizers by the name of Keep's. The paged ones differ in where moments lie, not in their values.
pub(super) const OPTIMIZERS: &[(&str, &str)] = &[
    ("adamw", "adamw_torch"),
    ("adamw_hf", "adamw_torch"),
    ("adamw_torch_fused", "adamw_torch"),
    ("adamw_apex_fused", "adamw_torch"),
    ("adamw_torch_8bit", "adamw_8bit"),
    ("adamw_bnb_8bit", "adamw_8bit"),
    ("paged_adamw_32bit", "adamw_torch"),
    ("paged_adamw_8bit", "adamw_8bit"),
    ("paged_adamw", "adamw_torch"),
];

/// A model folder, or a name on the Hub, which Keep does not fetch.
pub(super) fn model(carrier: &mut Carrier<'_>, item: &Item) {
    let name = item.value.text().unwrap_or_default();
    if is_hub_name(name) {
        let why = format!(
            "but Keep takes a folder; `hf download {name} --local-dir DIR` fetches one from the Hub"
        );
        carrier.offer_changed(item, "model_name_or_path", &item.value, &why);
    } else {
        carrier.offer(item, "model_name_or_path", &item.value);
    }
}

/// `owner/name`; a path of two parts looks the same, and then the note does no harm.
pub(super) fn is_hub_name(name: &str) -> bool {
    let mut parts = name.split('/');
    let plain = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && !part.starts_with(['.', '~']))
    };
    plain(parts.next()) && plain(parts.next()) && parts.next().is_none()
}

/// `bf16: true`, or axolotl's `auto` and `full`; `false` is float32, unless another key says what.
pub(super) fn bf16(carrier: &mut Carrier<'_>, item: &Item) {
    let others = ["fp16", "float16", "dtype", "torch_dtype"];
    let says = |key| carrier.value_of(key).is_some_and(|value| !value.is_off());
    match (item.value.boolean(), item.value.text()) {
        (Some(false), _) if others.into_iter().any(says) => {
            carrier.leave(item, "not needed: dtype says it");
        }
        (Some(false), _) => carrier.offer(item, "dtype", &text("float32")),
        (_, Some("auto")) => carrier.offer(item, "dtype", &text("auto")),
        _ => carrier.offer(item, "dtype", &text("bfloat16")),
    }
}

/// float16 is a matter of older GPUs; bfloat16 has its size.
pub(super) fn fp16(carrier: &mut Carrier<'_>, item: &Item) {
    if item.value.is_off() {
        carrier.leave(item, "not needed: dtype says it");
    } else {
        let why = "as dtype = \"bfloat16\": Keep has no float16";
        carrier.offer_changed(item, "dtype", &text("bfloat16"), why);
    }
}

/// The dtype a model is loaded in.
pub(super) fn dtype(carrier: &mut Carrier<'_>, item: &Item) {
    let word = item.value.text().unwrap_or_default();
    match word.strip_prefix("torch.").unwrap_or(word) {
        "float16" | "fp16" | "half" => fp16(carrier, item),
        "bf16" => carrier.offer(item, "dtype", &text("bfloat16")),
        "fp32" => carrier.offer(item, "dtype", &text("float32")),
        word => carrier.offer(item, "dtype", &text(word)),
    }
}

/// -1 is how transformers says that epochs decide.
pub(super) fn max_steps(carrier: &mut Carrier<'_>, item: &Item) {
    match item.value.number() {
        Some(steps) if steps < 0.0 => {
            carrier.leave(
                item,
                "not needed: num_train_epochs decides where it is not set",
            );
        }
        _ => carrier.offer(item, "max_steps", &item.value),
    }
}

/// transformers 5 takes a share of the steps below 1.
pub(super) fn warmup_steps(carrier: &mut Carrier<'_>, item: &Item) {
    match item.value.number() {
        Some(share) if share > 0.0 && share < 1.0 => {
            carrier.offer(item, "warmup_ratio", &item.value);
        }
        _ => carrier.offer(item, "warmup_steps", &item.value),
    }
}

/// A negative number is another way to switch it off.
pub(super) fn top_k(carrier: &mut Carrier<'_>, item: &Item) {
    match item.value.number() {
        Some(k) if k < 0.0 => carrier.offer(item, "top_k", &Yaml::Integer(0)),
        _ => carrier.offer(item, "top_k", &item.value),
    }
}

/// transformers' name of an evaluation's metric, with `eval_` before it or without.
pub(super) fn best_metric(carrier: &mut Carrier<'_>, item: &Item) {
    let name = item.value.text().unwrap_or_default();
    let name = name.strip_prefix("eval_").unwrap_or(name);
    let metric = text(&format!("eval/{name}"));
    carrier.offer(item, "metric_for_best_model", &metric);
    // What transformers goes by where nothing says it.
    if carrier.value_of("greater_is_better").is_none() && !name.ends_with("loss") {
        carrier.offer(item, "greater_is_better", &Yaml::Bool(true));
    }
}

/// Keep's newest checkpoint stays the newest; `best.json` names the best one.
pub(super) fn load_best(carrier: &mut Carrier<'_>, item: &Item) {
    if item.value.is_off() {
        return carrier.leave(item, "not needed: metric_for_best_model says it");
    }
    if carrier.value_of("metric_for_best_model").is_some() {
        let why =
            "not needed: metric_for_best_model keeps the best checkpoint, and best.json names it";
        return carrier.leave(item, why);
    }
    let why = "the best checkpoint by eval_data is kept beside the newest, and best.json names it";
    carrier.offer_changed(item, "metric_for_best_model", &text("eval/loss"), why);
}

/// Patience is with the loss where no metric is named.
pub(super) fn patience(carrier: &mut Carrier<'_>, item: &Item) {
    carrier.offer(item, "early_stopping_patience", &item.value);
    let is_on = item.value.number().is_some_and(|patience| patience > 0.0);
    if is_on && carrier.value_of("metric_for_best_model").is_none() {
        carrier.offer(item, "metric_for_best_model", &text("eval/loss"));
    }
}

/// Where a schedule ends: `min_lr_rate`, or `min_lr` beside learning_rate.
pub(super) fn scheduler_arguments(carrier: &mut Carrier<'_>, item: &Item) {
    for argument in item.value.items() {
        let item = Item {
            key: format!("{}.{}", item.key, argument.key),
            ..argument.clone()
        };
        let number = argument.value.number();
        let share_of = |whole: Option<&Yaml>| {
            let whole = whole.and_then(Yaml::number).filter(|whole| *whole > 0.0);
            number.zip(whole).map(|(part, whole)| rounded(part / whole))
        };
        let (key, value) = match argument.key.as_str() {
            "min_lr_rate" | "min_lr_ratio" => ("min_lr_ratio", number),
            "min_lr" => ("min_lr_ratio", share_of(carrier.value_of("learning_rate"))),
            "num_decay_steps" => ("decay_ratio", share_of(carrier.value_of("max_steps"))),
            _ => ("", None),
        };
        match value {
            Some(value) => carrier.offer(&item, key, &Yaml::Float(value)),
            None => carrier.leave(&item, "no equivalent: see min_lr_ratio and decay_ratio"),
        }
    }
}

/// A word, or `true` and `false` for the first and the last of them.
pub(super) fn scale_rewards(carrier: &mut Carrier<'_>, item: &Item) {
    let word = match item.value.boolean() {
        Some(true) => text("group"),
        Some(false) => text("none"),
        None => item.value.clone(),
    };
    carrier.offer(item, "scale_rewards", &word);
}

/// TRL takes a list of losses to add up; a list of one is that one.
pub(super) fn loss_type(carrier: &mut Carrier<'_>, item: &Item) {
    let value = match &item.value {
        Yaml::List(words) if words.len() == 1 => &words[0],
        value => value,
    };
    carrier.offer(item, "loss_type", value);
}

/// In TRL's `CPOConfig` the names are DPO's and the losses are CPO's.
pub(super) fn loss_type_of_trl(carrier: &mut Carrier<'_>, item: &Item) {
    const OF_CPO: [(&str, &str); 3] = [
        ("sigmoid", "cpo"),
        ("hinge", "cpo_hinge"),
        ("ipo", "cpo_ipo"),
    ];
    let name = item.value.text();
    let of_cpo = OF_CPO.iter().find(|(theirs, _)| Some(*theirs) == name);
    match of_cpo {
        Some((_, ours)) if carrier.is_cpo() => carrier.offer(item, "loss_type", &text(ours)),
        _ => loss_type(carrier, item),
    }
}

/// TRL's names of reward functions are those of Python functions; Keep's are its own.
pub(super) fn reward_funcs(carrier: &mut Carrier<'_>, item: &Item) {
    let registry = rewards::Registry::standard();
    let names: Vec<&str> = match &item.value {
        Yaml::List(names) => names.iter().filter_map(Yaml::text).collect(),
        value => value.text().into_iter().collect(),
    };
    let known = |name: &&str| registry.names().any(|known| known == *name);
    match names.iter().find(|name| !known(name)) {
        None => carrier.offer(item, "reward_funcs", &item.value),
        Some(name) => {
            let verifiers: Vec<&str> = registry.names().collect();
            let why = format!(
                "no equivalent: `{name}` is Python; Keep's are {}, and a record can name its own",
                verifiers.join(", ")
            );
            carrier.leave(item, why);
        }
    }
}

const BATCH_SIZE: &str = "per_device_train_batch_size";

/// In TRL's GRPO a batch counts completions, and all micro-batches together make the groups; in Keep
/// it counts prompts.
pub(super) fn batch_size(carrier: &mut Carrier<'_>, item: &Item) {
    let completions = item.value.number();
    let (StageName::Rl, Some(completions)) = (carrier.stage, completions) else {
        return carrier.offer(item, BATCH_SIZE, &item.value);
    };
    let generations = generations(carrier);
    let step = completions * micro_batches(carrier);
    let [prompts, prompts_of_step] = [completions, step].map(|count| count / generations);
    if is_count(prompts) {
        let why = format!(
            "as {prompts}: it counts completions there and prompts here, each with {generations}"
        );
        carrier.offer_changed(item, BATCH_SIZE, &Yaml::Float(prompts), &why);
    } else if is_count(prompts_of_step) {
        let why = format!(
            "as one prompt with its {generations} completions; with gradient_accumulation_steps = \
             {prompts_of_step} a step has as many completions as there"
        );
        carrier.offer_changed(item, BATCH_SIZE, &Yaml::Integer(1), &why);
    } else {
        let why = format!(
            "no equivalent: it counts completions, and a step's {step} are no multiple of \
             num_generations = {generations}; set the number of prompts"
        );
        carrier.leave(item, why);
    }
}

/// The batch of prompts where the configuration gives none, or none that makes whole groups.
pub(super) fn default_batch(carrier: &mut Carrier<'_>) {
    if carrier.stage != StageName::Rl {
        return;
    }
    let mut prompts = 1.0;
    if given_batch(carrier).is_none() {
        let (completions, generations) = (default_completions(carrier), generations(carrier));
        let step = completions * micro_batches(carrier);
        if is_count(completions / generations) {
            prompts = completions / generations;
        } else if !is_count(step / generations) {
            let items = carrier.items;
            if let Some(item) = items.iter().find(|item| item.key == "num_generations") {
                let why = format!(
                    "and a step's {step} completions, with the default batch there, are no multiple \
                     of it; set the number of prompts, {BATCH_SIZE}"
                );
                carrier.remark(item, why);
            }
        }
    }
    carrier.add_default(BATCH_SIZE, &prompts.to_string());
}

/// The other half of [`batch_size`].
pub(super) fn accumulation(carrier: &mut Carrier<'_>, item: &Item) {
    const KEY: &str = "gradient_accumulation_steps";
    let completions = match given_batch(carrier) {
        Some(batch) => batch.number(),
        None => Some(default_completions(carrier)),
    };
    let (Some(completions), Some(steps)) = (completions, item.value.number()) else {
        return carrier.offer(item, KEY, &item.value);
    };
    let generations = generations(carrier);
    let prompts_of_step = completions * steps / generations;
    let whole_groups = is_count(completions / generations);
    if carrier.stage != StageName::Rl || whole_groups || !is_count(prompts_of_step) {
        return carrier.offer(item, KEY, &item.value);
    }
    let why = format!("as {prompts_of_step}: a micro-batch here has whole groups of completions");
    carrier.offer_changed(item, KEY, &Yaml::Float(prompts_of_step), &why);
}

fn given_batch<'a>(carrier: &Carrier<'a>) -> Option<&'a Yaml> {
    let keys = [BATCH_SIZE, "micro_batch_size"];
    keys.into_iter().find_map(|key| carrier.value_of(key))
}

/// The other program's batch where the configuration gives none.
fn default_completions(carrier: &Carrier<'_>) -> f64 {
    match carrier.program {
        Program::Trl => 8.0,
        Program::Axolotl => 1.0,
    }
}

/// Completions of each prompt; axolotl hands TRL's key on.
fn generations(carrier: &Carrier<'_>) -> f64 {
    let nested = carrier.value_of("trl");
    let nested = nested.and_then(|trl| trl.get("num_generations"));
    let given = carrier.value_of("num_generations").or(nested);
    let given = given.and_then(Yaml::number).filter(|count| *count > 0.0);
    given.unwrap_or_else(|| trl::num_generations(carrier.items))
}

fn micro_batches(carrier: &Carrier<'_>) -> f64 {
    let given = carrier.value_of("gradient_accumulation_steps");
    given.and_then(Yaml::number).unwrap_or(1.0)
}

fn is_count(number: f64) -> bool {
    number >= 1.0 && number.fract() == 0.0
}

/// Micro-batches that are sampled at once; here it is said in optimizer steps.
pub(super) fn steps_per_generation(carrier: &mut Carrier<'_>, item: &Item) {
    let Some(count) = item.value.number() else {
        return carrier.offer(item, MINI_BATCHES, &item.value);
    };
    sampled_at_once(carrier, item, count / micro_batches(carrier));
}

/// The same in completions, of all processes together, of which the configuration says nothing.
pub(super) fn generation_batch_size(carrier: &mut Carrier<'_>, item: &Item) {
    let batch = match given_batch(carrier) {
        Some(batch) => batch.number(),
        None => Some(default_completions(carrier)),
    };
    let (Some(count), Some(batch)) = (item.value.number(), batch) else {
        return carrier.offer(item, MINI_BATCHES, &item.value);
    };
    let steps = count / batch / micro_batches(carrier);
    sampled_at_once(carrier, item, steps);
    if steps > 1.0 && is_count(steps) {
        let why =
            "it is of all processes together: divide by their number where there were several";
        carrier.remark(item, why);
    }
}

const MINI_BATCHES: &str = "num_mini_batches";

fn sampled_at_once(carrier: &mut Carrier<'_>, item: &Item, steps: f64) {
    if steps <= 1.0 {
        carrier.leave(item, "not needed: a step samples its own completions");
    } else if is_count(steps) {
        let why = "in optimizer steps whose completions are sampled at once";
        carrier.offer_changed(item, MINI_BATCHES, &Yaml::Float(steps), why);
    } else {
        let why = "no equivalent: completions are sampled for whole optimizer steps; see \
                   num_mini_batches";
        carrier.leave(item, why);
    }
}

/// TRL reads LoRA's keys only under `use_peft: true`, where its rank is 16 unless it is given, and
/// its modules are peft's for these families.
pub(super) fn use_peft(carrier: &mut Carrier<'_>, item: &Item) {
    if item.value.is_off() {
        return carrier.leave(item, "not needed: lora_r says it");
    }
    if carrier.value_of("lora_target_modules").is_none() {
        let modules = ["q_proj", "v_proj"].map(text);
        carrier.offer(item, "lora_target_modules", &Yaml::List(modules.into()));
    }
    if carrier.value_of("lora_r").is_none() {
        carrier.offer(item, "lora_r", &Yaml::Integer(16));
    } else {
        carrier.leave(item, "not needed: lora_r says it");
    }
}

/// As [`use_peft`] says.
pub(super) fn lora_of_trl(carrier: &mut Carrier<'_>, item: &Item) {
    if carrier.value_of("use_peft").is_none_or(Yaml::is_off) {
        carrier.leave(
            item,
            "not needed: without use_peft: true it has no effect there",
        );
    } else {
        let name = item.key.rsplit('.').next().unwrap_or(&item.key);
        match name {
            "lora_dropout" if !item.value.is_off() => {
                carrier.leave(item, "no equivalent: adapters have no dropout");
            }
            _ => carrier.offer(item, name, &item.value),
        }
    }
}

/// Programs that a run reports to: TensorBoard is one of Keep's, axolotl's switch for it too.
pub(super) fn report_to(carrier: &mut Carrier<'_>, item: &Item) {
    let why = "the run directory has every step; `trainer watch` shows it";
    let named = match &item.value {
        Yaml::List(items) => items.iter().filter_map(Yaml::text).collect(),
        value => Vec::from_iter(value.text()),
    };
    let is_on = item.key == "use_tensorboard" && item.value.boolean() == Some(true);
    match named.contains(&"tensorboard") || is_on {
        false => carrier.leave(item, format!("not needed: {why}")),
        true if named.len() < 2 => carrier.offer(item, "report_to", &text("tensorboard")),
        true => {
            let why = format!("but only to tensorboard: {why}");
            carrier.offer_changed(item, "report_to", &text("tensorboard"), &why);
        }
    }
}

/// Keep trains on assistant turns alone.
pub(super) fn assistant_turns(carrier: &mut Carrier<'_>, item: &Item) {
    let why = "only a conversation's assistant turns are trained on";
    let verdict = match item.value.boolean() {
        Some(true) => "not needed",
        _ => "no equivalent",
    };
    carrier.leave(item, format!("{verdict}: {why}"));
}

/// axolotl's word for [`assistant_turns`], the other way round.
pub(super) fn train_on_inputs(carrier: &mut Carrier<'_>, item: &Item) {
    let why = "only a conversation's assistant turns are trained on";
    let verdict = match item.value.boolean() {
        Some(true) => "no equivalent",
        _ => "not needed",
    };
    carrier.leave(item, format!("{verdict}: {why}"));
}

/// Without the noise in the last digits that a division of decimals leaves.
fn rounded(share: f64) -> f64 {
    (share * 1e12).round() / 1e12
}

fn text(word: &str) -> Yaml {
    Yaml::Text(word.to_owned())
}
