use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use datasets::TokenBatch;
use model::CausalLm;
use model::flops::{ForwardCosts, ForwardFlops, Trained};
use telemetry::{EventLog, Fields, Scalar, event};

/// Where the time of an optimizer step goes, how much arithmetic is in it, and what a viewer is told
/// while it lasts.
///
/// Time is taken on the host, at points where the host has a value to wait for anyway: nothing waits
/// for the sake of a measurement. On the CPU that is exact. A GPU works through a queue behind the
/// host, and there a part ends when the last thing read in it arrives: sampled tokens, the
/// log-probabilities of the reference, a loss, the gradients' norm. Only the optimizer reads nothing,
/// so `time/optimizer` is what it takes to queue its work, and the work itself is in the part of the
/// next step that first reads something. The parts do not overlap, and together they take no longer
/// than the step.
pub struct StepMeter {
    log: EventLog,
    utilization: Option<Utilization>,
    state: RefCell<State>,
}

/// A part of a step; `time/<name>` in its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Records read, tokenized and laid out.
    Data,
    /// Completions sampled.
    Rollout,
    /// Completions judged.
    Reward,
    /// Log-probabilities that the loss compares with: of a reference, or of the policy itself
    /// beforehand.
    Reference,
    /// The micro-batches forward and backward, and the norm of their gradients.
    ForwardBackward,
    /// The optimizer's step.
    Optimizer,
}

/// What model FLOP utilization is counted from.
#[derive(Clone, Debug, PartialEq)]
pub struct Utilization {
    /// What the device does at most, in operations a second.
    pub peak: f64,
    /// What the model costs.
    pub costs: ForwardCosts,
    /// What of it trains.
    pub trained: Trained,
}

#[derive(Default)]
struct State {
    step: u64,
    /// What is being done, and since when.
    part: Option<Part>,
    since: Duration,
    spent: BTreeMap<Part, Duration>,
    /// What each part took when it was last there.
    before: BTreeMap<Part, Duration>,
    /// What a viewer was told last.
    phase: &'static str,
    compiles: bool,
    flops: u64,
}

/// Parts that took less the last time are not worth a line of the log.
const ANNOUNCED_FROM: Duration = Duration::from_secs(1);

/// What a viewer is told while nothing else is announced.
const TRAIN: &str = "train";

impl Part {
    /// As the log has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Data => "data",
            Part::Rollout => "rollout",
            Part::Reward => "reward",
            Part::Reference => "reference",
            Part::ForwardBackward => "forward_backward",
            Part::Optimizer => "optimizer",
        }
    }
}

impl StepMeter {
    /// Of a run whose phases go to this log.
    pub fn new(log: &EventLog) -> Self {
        StepMeter {
            log: log.clone(),
            utilization: None,
            state: RefCell::new(State {
                phase: TRAIN,
                ..State::default()
            }),
        }
    }

    /// Where the device's peak is known, steps say how much of it they use.
    #[must_use]
    pub fn with_utilization(mut self, utilization: Option<Utilization>) -> Self {
        self.utilization = utilization;
        self
    }

    /// Where the device compiles kernels when they are first used, the first pass is a phase of its
    /// own.
    #[must_use]
    pub fn for_model(mut self, model: &CausalLm) -> Self {
        self.state.get_mut().compiles = !kernels::device::is_cpu(model.device());
        self
    }

    /// A step begins.
    pub fn begin(&self, step: u64) {
        let state = &mut *self.state.borrow_mut();
        (state.step, state.part, state.flops) = (step, None, 0);
        state.spent.clear();
    }

    /// Does the work, and counts its time as this part's, but for what it counts as another's.
    pub fn time<T>(&self, part: Part, work: impl FnOnce() -> T) -> T {
        self.announce(part);
        let around = self.switch(Some(part));
        let result = work();
        self.switch(around);
        result
    }

    /// Counts a forward pass of a batch that nothing goes back through.
    pub fn add_forward(&self, batch: &TokenBatch) {
        if let Some(Utilization { costs, .. }) = &self.utilization {
            self.add(of_batch(costs, batch).total());
        }
    }

    /// Counts a batch forward and backward.
    pub fn add_training(&self, batch: &TokenBatch) {
        if let Some(Utilization { costs, trained, .. }) = &self.utilization {
            self.add(of_batch(costs, batch).with_backward(*trained));
        }
    }

    /// Counts completions sampled from prompts that are run once each: a prompt's tokens, and those
    /// of each of its completions.
    pub fn add_sampling(&self, groups: impl Iterator<Item = (usize, Vec<usize>)>) {
        let Some(Utilization { costs, .. }) = &self.utilization else {
            return;
        };
        for (prompt, completions) in groups {
            let prompt = prompt as u64;
            let mut flops = costs.segment(0, prompt);
            for completion in completions {
                let length = completion as u64;
                // Each token but the first goes in to predict the next one.
                let decoded = costs.segment(prompt, length.saturating_sub(1));
                flops = flops.plus(decoded).plus(costs.head(length));
            }
            self.add(flops.total());
        }
    }

    /// Adds to the step that took so long `time/…` of every part it had, in seconds, and `mfu` where
    /// the peak is known.
    pub fn report(&self, took: Duration, fields: &mut Fields) {
        let state = &mut *self.state.borrow_mut();
        for (part, spent) in &state.spent {
            // Whole microseconds, rounded down, so that the sum stays below the step's time.
            let seconds = spent.as_micros() as f64 / 1e6;
            fields.set(format!("time/{}", part.as_str()), seconds);
        }
        if let Some(utilization) = &self.utilization {
            let possible = utilization.peak * took.as_secs_f64();
            fields.set("mfu", Scalar(state.flops as f64 / possible).shortened());
        }
        state.before.append(&mut state.spent);
    }

    fn add(&self, flops: u64) {
        self.state.borrow_mut().flops += flops;
    }

    /// Books the time since the last switch, and says what was being done until now.
    fn switch(&self, part: Option<Part>) -> Option<Part> {
        let now = self.log.clock().elapsed();
        let state = &mut *self.state.borrow_mut();
        if let Some(before) = state.part {
            *state.spent.entry(before).or_default() += now - state.since;
        }
        state.since = now;
        std::mem::replace(&mut state.part, part)
    }

    fn announce(&self, part: Part) {
        let state = &mut *self.state.borrow_mut();
        let took = state.before.get(&part);
        let phase = match part {
            Part::Data | Part::Optimizer => return,
            Part::ForwardBackward if state.compiles => "compile",
            Part::ForwardBackward => TRAIN,
            _ if took.is_some_and(|took| *took < ANNOUNCED_FROM) => return,
            part => part.as_str(),
        };
        if part == Part::ForwardBackward {
            state.compiles = false;
        }
        if state.phase == phase {
            return;
        }
        state.phase = phase;
        let phase = event::Phase {
            name: phase.to_owned(),
            step: state.step - 1,
            fields: Fields::new(),
        };
        // A log that cannot be written fails the run at the step's own line, with the same error.
        let _ = self.log.append(phase);
    }
}

fn of_batch(costs: &ForwardCosts, batch: &TokenBatch) -> ForwardFlops {
    let length = |segment: usize| batch.segment(segment).len() as u64;
    let segments = batch.prefixes.iter().enumerate().map(|(own, prefix)| {
        let before = prefix.map_or(0, |prefix| length(prefix as usize));
        costs.segment(before, length(own))
    });
    let head = costs.head(batch.predictions.len() as u64);
    segments.fold(head, ForwardFlops::plus)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datasets::{SharedPrompt, SupervisedTokens};
    use model::ModelConfig;
    use model::config::Gemma2Shape;
    use telemetry::{Clock, Event, EventTail, FixedClock};

    use super::*;

    struct Run {
        _dir: tempfile::TempDir,
        path: std::path::PathBuf,
        clock: Arc<FixedClock>,
        meter: StepMeter,
    }

    impl Run {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join("events.jsonl");
            let clock = Arc::new(FixedClock::new(1_000));
            let log = EventLog::open_with(&path, clock.clone()).expect("a log");
            let meter = StepMeter::new(&log);
            Run {
                _dir: dir,
                path,
                clock,
                meter,
            }
        }

        fn work(&self, part: Part, milliseconds: u64) {
            let pass = || self.clock.advance(Duration::from_millis(milliseconds));
            self.meter.time(part, pass);
        }

        fn fields(&self, took: Duration) -> Fields {
            let mut fields = Fields::new();
            self.meter.report(took, &mut fields);
            fields
        }

        fn phases(&self) -> Vec<(String, u64)> {
            let (lines, _) = EventTail::read_all(&self.path).expect("a log");
            let phase = |event: Event| match event {
                Event::Phase(phase) => Some((phase.name, phase.step)),
                _ => None,
            };
            lines.into_iter().filter_map(|l| phase(l.event)).collect()
        }
    }

    #[test]
    fn a_part_within_another_is_counted_once() {
        let run = Run::new();
        run.meter.begin(1);
        run.meter.time(Part::Data, || {
            run.clock.advance(Duration::from_millis(5));
            run.work(Part::Rollout, 700);
            run.work(Part::Reward, 40);
            run.work(Part::Rollout, 100);
            run.clock.advance(Duration::from_millis(2));
        });
        run.clock.advance(Duration::from_millis(1));
        run.work(Part::ForwardBackward, 300);
        let fields = run.fields(run.clock.elapsed());
        let expected = Fields::new()
            .with("time/data", 0.007)
            .with("time/rollout", 0.8)
            .with("time/reward", 0.04)
            .with("time/forward_backward", 0.3);
        assert_eq!(fields, expected);
        let sum: f64 = fields.scalars().map(|(_, seconds)| seconds).sum();
        assert!(sum <= 1.148, "{sum}");
    }

    #[test]
    fn a_step_says_nothing_of_a_part_that_it_did_not_have() {
        let run = Run::new();
        run.meter.begin(1);
        run.work(Part::Rollout, 10);
        run.fields(Duration::from_millis(10));
        run.meter.begin(2);
        run.work(Part::Optimizer, 10);
        let fields = run.fields(Duration::from_millis(10));
        assert_eq!(fields, Fields::new().with("time/optimizer", 0.01));
    }

    #[test]
    fn only_parts_that_took_a_second_the_last_time_are_announced_again() {
        let run = Run::new();
        for (step, rollout) in [(1, 2_000), (2, 30), (3, 30)] {
            run.meter.begin(step);
            run.work(Part::Rollout, rollout);
            run.work(Part::Reward, 1);
            run.work(Part::ForwardBackward, 100);
            run.fields(Duration::from_secs(3));
        }
        let phases = run.phases();
        let phases: Vec<(&str, u64)> = phases.iter().map(|(n, s)| (n.as_str(), *s)).collect();
        let first = [("rollout", 0), ("reward", 0), ("train", 0)];
        assert_eq!(
            phases,
            [&first[..], &[("rollout", 1), ("train", 1)]].concat()
        );
    }

    #[test]
    fn utilization_is_the_arithmetic_over_what_the_device_could_have_done() {
        let config = ModelConfig::demo_gemma2(&Gemma2Shape::default()).expect("a sound shape");
        let costs = ForwardCosts::of(&config);
        let answer = |ids: Vec<u32>| SupervisedTokens {
            loss_mask: vec![true; ids.len()],
            ids,
        };
        let batch = TokenBatch::from_shared_prompts(&[SharedPrompt {
            prompt: vec![2, 9, 4],
            answers: vec![answer(vec![7, 1]), answer(vec![8])],
        }]);
        // Six tokens, of which three are predicted. Pairs a layer: 6 of the prompt's three tokens,
        // then 4 and 5, then 4. By the demo's shape, 4 layers, 4 heads of 32 and a head of 2048 by
        // 128.
        let matrices = model::flops::ParameterCounts::of(&config).block_matrices;
        let (projections, attention) = (2 * matrices * 4 * 6, 2 * 2 * 128 * 4 * 19);
        let head = 2 * 2048 * 128 * 3;
        let forward = projections + attention + head;
        let run = Run::new();
        let meter = run.meter.with_utilization(Some(Utilization {
            peak: 1e9,
            costs,
            trained: Trained::All,
        }));
        let short = |mfu: f64| Scalar(mfu).shortened().0;
        let mfu = |took: f64| {
            let mut fields = Fields::new();
            meter.report(Duration::from_secs_f64(took), &mut fields);
            fields.scalar("mfu").expect("the peak is known")
        };
        meter.begin(1);
        meter.add_training(&batch);
        assert_eq!(mfu(0.5), short((3 * forward) as f64 / 0.5e9));
        meter.begin(2);
        meter.add_forward(&batch);
        assert_eq!(mfu(0.5), short(forward as f64 / 0.5e9));
        // Sampling runs the same tokens but for the last one of each answer.
        let sampled = 2 * matrices * 4 * 4 + 2 * 2 * 128 * 4 * 10 + head;
        meter.begin(3);
        meter.add_sampling([(3, vec![2, 1])].into_iter());
        assert_eq!(mfu(0.5), short(sampled as f64 / 0.5e9));
    }
}
