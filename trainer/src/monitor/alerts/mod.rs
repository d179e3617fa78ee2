//! What seems to go wrong with a run, told while it can still be stopped.
//!
//! A [`Rule`] looks at everything that is measured and says whether what it watches is outside of its
//! healthy range. [`Alerts`] raises each rule once, clears it once what it watches is well inside the range
//! again, and never changes the training. [`defaults`] has the rules of each stage with their ranges, which
//! the recipe's `alert_rules` change.
//!
//! What the rules know is not in checkpoints: a run that goes on from one reads it back from its own log, as
//! far as the checkpoint goes.

mod defaults;
mod machine;
mod outlier;
mod pairs;
mod since_start;
#[cfg(test)]
mod tests;
mod threshold;
mod trend;
mod window;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use telemetry::event::{
    self, Alert, AlertCleared, AlertLevel, Checkpoint, Evaluation, Step, System,
};
use telemetry::{Event, EventTail, Fields, TelemetryError};

use crate::recipe::Recipe;
use crate::watched;
use pairs::Pairs;

/// Something that was measured.
#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    /// An optimizer step.
    Step(&'a Step),
    /// An evaluation.
    Evaluation(&'a Evaluation),
    /// The machine.
    System(&'a System),
    /// A checkpoint on the disk.
    Checkpoint(&'a Checkpoint),
}

/// A rule: it watches something and knows its healthy range.
trait Rule {
    /// What it is about.
    fn about(&self) -> &About;

    /// What an observation says; `None` where it says nothing to this rule.
    fn look(&mut self, seen: Observation<'_>) -> Option<Finding>;
}

/// What a rule is about.
#[derive(Clone, Debug)]
struct About {
    /// What the log calls the rule: `kl > 0.5`.
    name: String,
    /// The metric that it watches.
    source: Source,
    /// How bad it is.
    level: AlertLevel,
    /// What to think of it: `the policy moves away from its reference`.
    meaning: String,
}

impl About {
    /// The same of one row of evaluations' tables.
    fn of_group(self, group: &str) -> Self {
        let metric = &self.source.metric;
        let beyond = self.name.strip_prefix(metric.as_str()).unwrap_or_default();
        let source = Source {
            group: Some(group.to_owned()),
            ..self.source.clone()
        };
        About {
            name: format!("{source}{beyond}"),
            source,
            ..self
        }
    }

    /// The metric, and the side of it that is no good: `>` of `kl > 0.5`.
    fn fault(&self) -> (String, String) {
        let beyond = self.name.strip_prefix(&self.source.to_string());
        let side = beyond.and_then(|beyond| beyond.split_whitespace().next());
        (
            self.source.metric.clone(),
            side.unwrap_or_default().to_owned(),
        )
    }

    fn new(name: String, metric: &str, level: AlertLevel, meaning: &str) -> Self {
        About {
            name,
            source: Source::new(metric),
            level,
            meaning: meaning.to_owned(),
        }
    }
}

/// What a rule finds.
#[derive(Clone, Debug, PartialEq)]
struct Finding {
    verdict: Verdict,
    /// What was held against the threshold.
    value: f64,
    threshold: f64,
    /// The same for a person: `kl is 0.62, the median of 10 steps; healthy is at most 0.5`.
    sentence: String,
}

/// Where the value lies. Between a range and well inside of it nothing changes, so that a value at the
/// border is told of once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Outside,
    Border,
    Inside,
}

/// The rules of a run, and which of them are raised.
pub struct Alerts {
    /// Those about single language pairs come after those about the whole.
    rules: Vec<(Box<dyn Rule>, bool)>,
    pairs: Pairs,
}

impl Alerts {
    /// The rules of a recipe.
    pub fn new(recipe: &Recipe) -> Self {
        let changes = &recipe.run.alert_rules;
        let rules = defaults::rules(recipe.stage_name(), changes);
        Alerts {
            rules: rules.into_iter().map(|rule| (rule, false)).collect(),
            pairs: Pairs::of(|metric| defaults::is_left(metric, changes)),
        }
    }

    /// The rules as they stand at the end of a log, and the alerts that hold then, the oldest first. These
    /// are to be told again, since a `resumed` event ends all alerts.
    ///
    /// [`watched::RULE`] is none of these rules; whether its alert holds is taken from the log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn of_log(recipe: &Recipe, path: &Path) -> Result<(Self, Vec<Alert>), TelemetryError> {
        let mut alerts = Self::new(recipe);
        let mut raised: Vec<Alert> = Vec::new();
        let mut taken = 0;
        for_each_live(path, |event| {
            match event {
                Event::Step(step) => taken = step.step,
                Event::Alert(alert) if alert.rule == watched::RULE => update(&mut raised, event),
                Event::AlertCleared(cleared) if cleared.rule == watched::RULE => {
                    update(&mut raised, event);
                }
                _ => {}
            }
            let Some(seen) = observation(event) else {
                return;
            };
            for event in alerts.observe(seen, Some(step_of(event).unwrap_or(taken))) {
                update(&mut raised, &event);
            }
        })?;
        Ok((alerts, raised))
    }

    /// Takes an observation in, after `step` optimizer steps. Returns the alerts that it raises and clears.
    pub fn observe(&mut self, seen: Observation<'_>, step: Option<u64>) -> Vec<Event> {
        let mut events = Vec::new();
        if let Observation::Evaluation(evaluation) = seen {
            let rules = self.pairs.new_rules(evaluation).into_iter();
            self.rules.extend(rules.map(|rule| (rule, false)));
        }
        // Faults that are told of as a whole, which no pair needs to repeat.
        let mut told = BTreeSet::new();
        // Before the first step nothing was done that an alert could be about.
        let is_baseline = matches!(seen, Observation::Evaluation(e) if e.step == 0);
        for (rule, is_raised) in &mut self.rules {
            let finding = rule.look(seen).filter(|_| !is_baseline);
            let (fault, group) = (rule.about().fault(), &rule.about().source.group);
            let is_told = group.is_some() && told.contains(&fault);
            let has_verdict = finding.as_ref().map(|finding| finding.verdict);
            let holds = match has_verdict {
                Some(Verdict::Outside) => true,
                Some(Verdict::Inside) => false,
                Some(Verdict::Border) | None => *is_raised,
            };
            if holds && group.is_none() {
                told.insert(fault);
            }
            let Some(finding) = finding else {
                continue;
            };
            match (finding.verdict, *is_raised) {
                (Verdict::Outside, false) if is_told => continue,
                (Verdict::Outside, false) => events.push(finding.alert(rule.about(), step).into()),
                (Verdict::Inside, true) => events.push(finding.cleared(rule.about(), step).into()),
                _ => continue,
            }
            *is_raised = !*is_raised;
        }
        events
    }
}

impl Finding {
    fn alert(self, rule: &About, step: Option<u64>) -> Alert {
        Alert {
            rule: rule.name.clone(),
            message: format!("{}: {}", self.sentence, rule.meaning),
            step,
            level: Some(rule.level),
            fields: self.fields(rule),
        }
    }

    fn cleared(self, rule: &About, step: Option<u64>) -> AlertCleared {
        AlertCleared {
            rule: rule.name.clone(),
            fields: self.fields(rule),
            message: self.sentence,
            step,
        }
    }

    fn fields(&self, rule: &About) -> Fields {
        let mut fields = Fields::new().with("metric", rule.source.metric.as_str());
        if let Some(group) = &rule.source.group {
            fields.set("group", group.as_str());
        }
        fields
            .with("value", self.value)
            .with("threshold", self.threshold)
    }
}

/// Keeps the alerts that hold, as of an event.
fn update(raised: &mut Vec<Alert>, event: &Event) {
    match event {
        Event::Alert(alert) => {
            raised.retain(|other| other.rule != alert.rule);
            raised.push(alert.clone());
        }
        Event::AlertCleared(cleared) => raised.retain(|alert| alert.rule != cleared.rule),
        _ => {}
    }
}

/// A metric of steps, or of evaluations.
#[derive(Clone, Debug)]
struct Source {
    /// Its name, with `eval/` where it is one of evaluations.
    metric: String,
    /// The row of evaluations' tables that it is of, a language pair; else it is of the whole.
    group: Option<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{} of {group}", self.metric),
            None => f.write_str(&self.metric),
        }
    }
}

const EVAL: &str = "eval/";

impl Source {
    fn new(metric: impl Into<String>) -> Self {
        Source {
            metric: metric.into(),
            group: None,
        }
    }

    /// The metric's value in an observation, where it has one.
    fn read(&self, seen: Observation<'_>) -> Option<f64> {
        match (seen, self.metric.strip_prefix(EVAL)) {
            (Observation::Evaluation(evaluation), Some(name)) => match &self.group {
                None => evaluation.fields.scalar(name),
                Some(group) => {
                    let rows = evaluation.table.iter().filter(|row| row.group == *group);
                    rows.filter_map(|row| row.metrics.scalar(name)).next()
                }
            },
            (Observation::Step(step), None) => step.scalar(&self.metric),
            _ => None,
        }
    }

    fn is_of_evaluations(&self) -> bool {
        self.metric.starts_with(EVAL)
    }
}

/// Calls `visit` with the events of a log that count in the end: none of a step that a later resume
/// abandoned. The log may be larger than memory.
fn for_each_live(path: &Path, mut visit: impl FnMut(&Event)) -> Result<(), TelemetryError> {
    let mut cuts = Vec::new();
    for_each(path, |event| {
        if let Event::Resumed(event::Resumed { from_step, .. }) = event {
            cuts.push(*from_step);
        }
    })?;
    // After each resume, the earliest step that this one or a later one goes back to.
    for at in (1..cuts.len()).rev() {
        cuts[at - 1] = cuts[at - 1].min(cuts[at]);
    }
    let mut later = cuts.into_iter();
    let mut cut = later.next();
    for_each(path, |event| {
        if matches!(event, Event::Resumed(_)) {
            cut = later.next();
        } else if step_of(event).is_none_or(|step| cut.is_none_or(|cut| step <= cut)) {
            visit(event);
        }
    })
}

fn for_each(path: &Path, mut visit: impl FnMut(&Event)) -> Result<(), TelemetryError> {
    let mut tail = EventTail::new(path);
    loop {
        let batch = tail.poll()?;
        batch.lines.iter().for_each(|line| visit(&line.event));
        if batch.at_end {
            return Ok(());
        }
    }
}

fn observation(event: &Event) -> Option<Observation<'_>> {
    match event {
        Event::Step(step) => Some(Observation::Step(step)),
        Event::Evaluation(evaluation) => Some(Observation::Evaluation(evaluation)),
        Event::Checkpoint(checkpoint) => Some(Observation::Checkpoint(checkpoint)),
        Event::System(system) => Some(Observation::System(system)),
        _ => None,
    }
}

fn step_of(event: &Event) -> Option<u64> {
    match event {
        Event::Step(step) => Some(step.step),
        Event::Evaluation(evaluation) => Some(evaluation.step),
        Event::Checkpoint(checkpoint) => Some(checkpoint.step),
        Event::Alert(alert) => alert.step,
        Event::AlertCleared(cleared) => cleared.step,
        _ => None,
    }
}
