//! What the tables say of a key or a value that a recipe has from another program.

use toml::Value;

use super::carrier::{Carrier, Keys};
use super::yaml::{Item, Yaml};
use super::{Note, Program, convert, rule};
use crate::recipe::StageName;
use crate::recipe::kind::spelled;

/// Keys whose values mean another thing here: a recipe's batch counts prompts already, and its
/// metrics have their own names.
const OF_KEEP: [&str; 2] = ["per_device_train_batch_size", "metric_for_best_model"];

/// Keys that another key of the recipe is needed to convert.
const SAMPLED_AT_ONCE: [&str; 2] = ["steps_per_generation", "generation_batch_size"];

/// What to do about a key that is TRL's or axolotl's and not Keep's, in a recipe of a stage; `None`
/// where it is neither's.
pub(in crate::recipe) fn of_key(stage: StageName, key: &str, value: &Value) -> Option<String> {
    if SAMPLED_AT_ONCE.contains(&key) {
        let place = match stage {
            StageName::Rl => "",
            _ => " under [rl]",
        };
        return Some(format!(
            "write `num_mini_batches`{place}: of how many optimizer steps the completions are sampled \
             at once"
        ));
    }
    let program = [Program::Trl, Program::Axolotl]
        .into_iter()
        .find(|program| rule::find(program.rows(), key).is_some())?;
    let items = [item(key, value)];
    let (keys, notes) = carried(program, stage, &items);
    if let Some(assignments) = assignments(&keys) {
        return Some(format!("write {assignments}"));
    }
    let elsewhere = StageName::ALL.into_iter().find_map(|stage| {
        let assignments = assignments(&carried(program, stage, &items).0)?;
        Some(format!("write {assignments} under [{stage}]"))
    });
    elsewhere.or_else(|| {
        let why = &notes.first()?.why;
        let its = format!("{}'s key", program.name());
        Some(match why.strip_prefix("no equivalent: ") {
            Some(why) => format!("leave it out; Keep has no equivalent of {its}: {why}"),
            None => format!("leave it out; {its} is {why}"),
        })
    })
}

/// What to write in place of a value of TRL's that a key of a recipe does not take.
pub(in crate::recipe) fn of_value(stage: StageName, key: &str, value: &Value) -> Option<String> {
    if OF_KEEP.contains(&key) {
        return None;
    }
    let items = [item(key, value)];
    let (keys, notes) = carried(Program::Trl, stage, &items);
    if let Some(assignments) = assignments(&keys) {
        let word = value.as_str().unwrap_or_default();
        let beside = convert::beside(word).unwrap_or_default();
        return Some(format!("write {assignments}{beside}"));
    }
    let why = notes.first()?.why.strip_prefix("not needed: ")?;
    (key == "max_steps").then(|| format!("leave it out: {why}"))
}

fn item(key: &str, value: &Value) -> Item {
    Item {
        key: key.to_owned(),
        value: Yaml::of_toml(value),
        line: 0,
    }
}

fn carried(program: Program, stage: StageName, items: &[Item]) -> (Keys, Vec<Note>) {
    let mut carrier = Carrier::new(program, stage, items);
    carrier.carry_all(program.rows());
    carrier.finish()
}

/// Such as `` `lora_r = 16` and `lora_alpha = 32.0` ``.
fn assignments(keys: &Keys) -> Option<String> {
    let written: Vec<String> = keys
        .iter()
        .map(|(name, carried)| format!("`{name} = {}`", spelled(&carried.value)))
        .collect();
    (!written.is_empty()).then(|| written.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use StageName::{Po, Rl, Sft};

    fn toml(text: &str) -> Value {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_key_of_another_program_is_told_keeps_or_why_there_is_none() {
        for (stage, key, value, advice) in [
            (Sft, "bf16", "false", "write `dtype = \"float32\"`"),
            (
                Sft,
                "torch_dtype",
                "'bfloat16'",
                "write `dtype = \"bfloat16\"`",
            ),
            (
                Po,
                "precompute_ref_log_probs",
                "true",
                "TRL's key is not needed: how the reference is computed changes no number",
            ),
            (
                Sft,
                "assistant_only_loss",
                "true",
                "TRL's key is not needed: only a conversation's assistant turns are trained on",
            ),
            (
                Sft,
                "completion_only_loss",
                "false",
                "no equivalent of TRL's key: only a conversation's assistant turns",
            ),
            (Rl, "use_vllm", "true", "samples by itself"),
            (Rl, "vllm_mode", "'colocate'", "samples by itself"),
            (
                Rl,
                "min_p",
                "0.1",
                "TRL's key is not there yet: Keep has no min_p",
            ),
            (
                Sft,
                "optimizer",
                "'adamw_bnb_8bit'",
                "write `optim = \"adamw_8bit\"`",
            ),
            (Po, "rl_beta", "0.1", "write `beta = 0.1`"),
            (Sft, "rl_beta", "0.1", "write `beta = 0.1` under [po]"),
            (
                Sft,
                "lr_scheduler_kwargs",
                "{ min_lr_rate = 0.1 }",
                "`min_lr_ratio = 0.1`",
            ),
        ] {
            let given = of_key(stage, key, &toml(value)).expect(key);
            assert!(given.contains(advice), "{key}: {given}");
        }
        assert_eq!(of_key(Sft, "learning_rat", &toml("1e-5")), None);
    }

    #[test]
    fn a_value_of_trls_is_told_keeps() {
        for (stage, key, value, advice) in [
            (
                Sft,
                "optim",
                "'adamw_bnb_8bit'",
                "write `optim = \"adamw_8bit\"`",
            ),
            (
                Sft,
                "lr_scheduler_type",
                "'cosine_with_min_lr'",
                "write `lr_scheduler_type = \"cosine\"`, and min_lr_ratio",
            ),
            (
                Sft,
                "lr_scheduler_type",
                "'constant_with_warmup'",
                "write `lr_scheduler_type = \"constant\"`, and warmup_ratio or warmup_steps",
            ),
            (Sft, "dtype", "'bf16'", "write `dtype = \"bfloat16\"`"),
            (Sft, "dtype", "'float16'", "write `dtype = \"bfloat16\"`"),
            (Sft, "warmup_steps", "0.1", "write `warmup_ratio = 0.1`"),
            (
                Sft,
                "max_steps",
                "-1",
                "leave it out: num_train_epochs decides",
            ),
            (
                Rl,
                "scale_rewards",
                "false",
                "write `scale_rewards = \"none\"`",
            ),
            (Rl, "top_k", "-1", "write `top_k = 0`"),
            (Rl, "num_generations", "'8'", "write `num_generations = 8`"),
        ] {
            let given = of_value(stage, key, &toml(value)).expect(key);
            assert!(given.contains(advice), "{key}: {given}");
        }
        for (key, value) in [
            ("lr_scheduler_type", "'polynomial'"),
            ("per_device_train_batch_size", "16.0"),
            ("metric_for_best_model", "3"),
            ("max_steps", "10.5"),
            ("learning_rate", "-1"),
        ] {
            assert_eq!(of_value(Rl, key, &toml(value)), None, "{key}");
        }
    }
}
