//! Carries keys into a recipe, as far as its schema takes them.

use std::collections::BTreeMap;

use toml::Value;

use super::rule::{self, Default, Row, Rule};
use super::yaml::{Item, Yaml};
use super::{Note, Program, value_of};
use crate::recipe::schema::{self, DefaultValue};
use crate::recipe::{StageName, nearest};

/// Longest value shown, in characters.
const SHOWN: usize = 60;

/// The keys of a recipe in the making, by their names in the schema.
pub(super) type Keys = BTreeMap<&'static str, Carried>;

/// A value of the recipe.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Carried {
    pub(super) value: Value,
    /// The key of the configuration it comes from; `None` where it is the program's default.
    pub(super) from: Option<String>,
}

impl Carried {
    pub(super) fn is_default(&self) -> bool {
        self.from.is_none()
    }
}

/// The recipe and the notes, while the keys of a configuration go by.
pub(super) struct Carrier<'a> {
    pub(super) program: Program,
    pub(super) stage: StageName,
    /// All keys of the configuration.
    pub(super) items: &'a [Item],
    keys: Keys,
    notes: Vec<Note>,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(program: Program, stage: StageName, items: &'a [Item]) -> Self {
        Carrier {
            program,
            stage,
            items,
            keys: Keys::new(),
            notes: Vec::new(),
        }
    }

    /// The value of another key of the configuration.
    pub(super) fn value_of(&self, key: &str) -> Option<&'a Yaml> {
        value_of(self.items, key)
    }

    /// Whether the configuration is TRL's `CPOConfig`.
    pub(super) fn is_cpo(&self) -> bool {
        super::trl::is_cpo(self.items)
    }

    pub(super) fn carry_all(&mut self, rows: &[Row]) {
        for item in self.items {
            self.carry(rows, &item.key, item);
        }
    }

    /// By the row of `name`, which is the item's key without the map that it lies in. Null is how
    /// both programs write "as if it were not there".
    pub(super) fn carry(&mut self, rows: &[Row], name: &str, item: &Item) {
        if item.value == Yaml::Null {
            if name == "max_length" {
                self.leave(item, "no equivalent: there is always a longest record");
            }
            return;
        }
        match rule::find(rows, name) {
            Some(Rule::Key(key)) => self.offer(item, key, &item.value),
            Some(Rule::Words(key, words)) => {
                let word = item.value.text();
                let other = word.and_then(|word| words.iter().find(|(theirs, _)| *theirs == word));
                match other {
                    Some((_, ours)) => self.offer(item, key, &Yaml::Text((*ours).to_owned())),
                    None => self.offer(item, key, &item.value),
                }
            }
            Some(Rule::NotNeeded(why)) => self.leave(item, format!("not needed: {why}")),
            Some(Rule::Unless(_)) if item.value.is_off() => {
                self.leave(item, "not needed: Keep does not do it either");
            }
            Some(Rule::NoEquivalent(why) | Rule::Unless(why)) => {
                self.leave(item, format!("no equivalent: {why}"));
            }
            Some(Rule::By(carry)) => carry(self, item),
            None if schema::users(name).next().is_some() => {
                self.offer(item, name, &item.value);
            }
            None => {
                let hint = nearest::elsewhere(name);
                self.leave(
                    item,
                    hint.map_or("unknown to Keep".to_owned(), str::to_owned),
                );
            }
        }
    }

    /// Puts a value under a key of the recipe, if the schema has it for the stage and takes it.
    pub(super) fn offer(&mut self, item: &Item, name: &str, value: &Yaml) {
        let Some(key) = schema::find(self.stage, name) else {
            let why = match schema::users(name).next() {
                _ if value.is_off() => "not needed: Keep does not do it either".to_owned(),
                Some(_) => format!("no equivalent: stage {} does not use {name}", self.stage),
                None => format!("not there yet: Keep has no {name}"),
            };
            return self.leave(item, why);
        };
        let Some(value) = value.to_toml(key.spec.kind) else {
            let hint = key.spec.hint.map(|hint| format!("; {hint}"));
            let (kind, hint) = (key.spec.kind, hint.unwrap_or_default());
            return self.leave(
                item,
                format!("not there yet: {} takes {kind}{hint}", key.name),
            );
        };
        match self.keys.get(key.name) {
            Some(earlier) if earlier.value != value => {
                let from = earlier.from.as_deref().unwrap_or(key.name);
                let why = format!("no equivalent: `{from}` says {} already", key.name);
                self.leave(item, why);
            }
            Some(_) => {}
            None => {
                let from = Some(item.key.clone());
                self.keys.insert(key.name, Carried { value, from });
            }
        }
    }

    /// As [`Self::offer`], where the value is not what the configuration writes, and why.
    pub(super) fn offer_changed(&mut self, item: &Item, name: &str, value: &Yaml, why: &str) {
        let before = self.notes.len();
        self.offer(item, name, value);
        if self.notes.len() == before {
            self.note(item, true, why.to_owned());
        }
    }

    /// Leaves a key out.
    pub(super) fn leave(&mut self, item: &Item, why: impl Into<String>) {
        self.note(item, false, why.into());
    }

    /// Adds what is to be said of a key that is carried.
    pub(super) fn remark(&mut self, item: &Item, why: impl Into<String>) {
        self.note(item, true, why.into());
    }

    fn note(&mut self, item: &Item, carried: bool, why: String) {
        let value = item.value.to_string().replace('\n', " ");
        let value = match value.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &value[..end]),
            None => value,
        };
        self.notes.push(Note {
            line: item.line,
            key: item.key.clone(),
            value,
            carried,
            why,
        });
    }

    /// Says the program's defaults where they are not Keep's.
    pub(super) fn add_defaults(&mut self, defaults: &[Default]) {
        for (stages, name, text) in defaults {
            if stages.contains(&self.stage) {
                self.add_default(name, text);
            }
        }
    }

    /// Says a default of the program, as TOML, where it is not Keep's.
    pub(super) fn add_default(&mut self, name: &str, text: &str) {
        let Some(key) = schema::find(self.stage, name) else {
            return;
        };
        let accepted = |text: &str| {
            let value: Option<Value> = text.parse().ok();
            value.and_then(|value| key.spec.kind.accept(&value))
        };
        let Some(value) = accepted(text) else {
            return;
        };
        let is_keeps = match key.default(self.stage) {
            DefaultValue::Toml(ours) => accepted(ours).as_ref() == Some(&value),
            _ => false,
        };
        let overridden = match key.name {
            "num_train_epochs" => self.keys.contains_key("max_steps"),
            "warmup_ratio" => self.keys.contains_key("warmup_steps"),
            _ => false,
        };
        if !is_keeps && !overridden && !self.keys.contains_key(key.name) {
            self.keys.insert(key.name, Carried { value, from: None });
        }
    }

    /// The recipe's keys and the notes, after what one key means for another.
    pub(super) fn finish(mut self) -> (Keys, Vec<Note>) {
        self.drop_warmup_of_a_constant_rate();
        self.drop_weights_without_functions();
        (self.keys, self.notes)
    }

    /// transformers' `constant` has no warm-up whatever else is said; Keep's has the one it is given.
    fn drop_warmup_of_a_constant_rate(&mut self) {
        let scheduler = ["lr_scheduler_type", "lr_scheduler"].map(|key| self.value_of(key));
        let word = scheduler.into_iter().flatten().next().and_then(Yaml::text);
        if word != Some("constant") {
            return;
        }
        for name in ["warmup_steps", "warmup_ratio"] {
            let Some(from) = self.keys.get(name).and_then(|carried| carried.from.clone()) else {
                continue;
            };
            self.keys.remove(name);
            if let Some(item) = self.items.iter().find(|item| item.key == from) {
                self.leave(item, "not needed: a `constant` rate has no warm-up there");
            }
        }
        let none = Carried {
            value: Value::Float(0.0),
            from: None,
        };
        self.keys.insert("warmup_ratio", none);
    }

    /// A list of weights goes by the order of functions.
    fn drop_weights_without_functions(&mut self) {
        let length = |name: &str| {
            let list = self.keys.get(name)?.value.as_array()?;
            Some(list.len())
        };
        let (weights, functions) = (length("reward_weights"), length("reward_funcs"));
        if weights.is_some() && weights != functions {
            self.keys.remove("reward_weights");
            if let Some(item) = self.items.iter().find(|item| item.key == "reward_weights") {
                self.leave(
                    item,
                    "no equivalent: it needs reward_funcs of the same number; write \
                     `reward_weights = { name = weight }`",
                );
            }
        }
    }
}
