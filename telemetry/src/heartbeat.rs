//! A sign of life while a phase takes minutes.

use crate::event::Heartbeat as Beat;
use crate::{EventLog, Fields, Periodic};
use std::time::Duration;

/// A thread that logs a `heartbeat` event every so often until this is dropped.
#[derive(Debug)]
pub struct Heartbeat {
    _thread: Periodic,
}

impl Heartbeat {
    /// How often a trainer should show that it lives.
    pub const PERIOD: Duration = Duration::from_secs(10);

    /// Starts beating; the first beat comes after one period.
    pub fn start(log: &EventLog, period: Duration) -> Self {
        let log = log.clone();
        let beat = move || {
            let fields = Fields::new();
            // The trainer meets the same error at its next event and reports it there.
            log.append(Beat { fields }).map_err(drop)
        };
        Self {
            _thread: Periodic::start(period, beat),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventTail, FixedClock};
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn it_beats_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let log = EventLog::open_with(&path, Arc::new(FixedClock::new(1))).unwrap();
        let heartbeat = Heartbeat::start(&log, Duration::from_millis(1));
        let mut tail = EventTail::new(&path);
        while tail.counts().lines < 3 {
            assert!(
                tail.poll()
                    .unwrap()
                    .lines
                    .iter()
                    .all(|line| matches!(line.event, Event::Heartbeat(_)))
            );
            thread::yield_now();
        }
        drop(heartbeat);
        let beats = EventTail::read_all(&path).unwrap().0.len();
        thread::sleep(Duration::from_millis(10));
        assert_eq!(EventTail::read_all(&path).unwrap().0.len(), beats);
    }
}
