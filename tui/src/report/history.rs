//! Where the time of a run went, over all processes that worked on it.

use telemetry::{Event, Line};

/// Before a process says what it is doing, it reads the model and the data.
const LOADING: &str = "loading";

/// The processes and their phases. The time between two processes belongs to nobody.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    processes: Vec<Process>,
    spent_ms: Vec<(String, u64)>,
    phase: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Process {
    began_ms: u64,
    latest_ms: u64,
}

impl History {
    /// Takes in the next line of the log.
    pub fn add(&mut self, line: &Line) {
        let time_ms = line.time_ms;
        if matches!(line.event, Event::RunStarted(_)) || self.processes.is_empty() {
            self.phase = None;
            self.processes.push(Process {
                began_ms: time_ms,
                latest_ms: time_ms,
            });
        }
        let process = self.processes.last_mut().expect("one was just begun");
        // A clock that was set back takes no time away.
        let took = time_ms.saturating_sub(process.latest_ms);
        process.latest_ms = process.latest_ms.max(time_ms);
        let phase = self.phase.as_deref().unwrap_or(LOADING);
        match self.spent_ms.iter_mut().find(|(known, _)| known == phase) {
            Some((_, spent)) => *spent += took,
            None => self.spent_ms.push((phase.to_owned(), took)),
        }
        if let Event::Phase(phase) = &line.event {
            self.phase = Some(crate::text::clean(&phase.name));
        }
    }

    /// How many processes worked on the run.
    pub fn num_processes(&self) -> usize {
        self.processes.len()
    }

    /// What all processes took together.
    pub fn total_ms(&self) -> u64 {
        let took = |process: &Process| process.latest_ms - process.began_ms;
        self.processes.iter().map(took).sum()
    }

    /// The phases with their times, longest first. They add up to [`History::total_ms`].
    pub fn phases(&self) -> Vec<(&str, u64)> {
        let spent = self.spent_ms.iter().filter(|(_, ms)| *ms > 0);
        let mut phases: Vec<(&str, u64)> = spent.map(|(name, ms)| (&**name, *ms)).collect();
        phases.sort_by_key(|(_, ms)| std::cmp::Reverse(*ms));
        phases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up_to_what_the_processes_took() {
        let mut history = History::default();
        let lines = [
            (
                1_000,
                r#"{"kind":"run_started","stage":"rl","model":"m","device":"d","dtype":"f32","parameters":1,"seed":1,"total_steps":9"#,
            ),
            (2_000, r#"{"kind":"phase","name":"rollout","step":0"#),
            (5_000, r#"{"kind":"phase","name":"train","step":0"#),
            (6_000, r#"{"kind":"heartbeat""#),
            (
                60_000,
                r#"{"kind":"run_started","stage":"rl","model":"m","device":"d","dtype":"f32","parameters":1,"seed":1,"total_steps":9"#,
            ),
            (60_500, r#"{"kind":"phase","name":"train","step":0"#),
            (60_400, r#"{"kind":"heartbeat""#),
            (62_500, r#"{"kind":"heartbeat""#),
        ];
        for (time, json) in lines {
            let line = format!("{json},\"time\":{time}}}");
            history.add(&Line::parse(line.as_bytes()).unwrap());
        }
        assert_eq!(
            history.phases(),
            [("rollout", 3_000), ("train", 3_000), ("loading", 1_500)]
        );
        assert_eq!((history.num_processes(), history.total_ms()), (2, 7_500));
    }
}
