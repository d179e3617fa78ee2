//! Which of the thousands of groups that a run sampled are worth reading.

use std::path::Path;

use telemetry::{SampleEntry, SampleIndex, SampleRecord, TelemetryError};

/// When in the run a group was sampled.
pub const TIMES: [&str; 3] = ["early", "middle", "late"];

/// A group with the reason why it is shown.
#[derive(Debug)]
pub struct Chosen {
    /// One of [`TIMES`].
    pub time: &'static str,
    /// Why, in a few words.
    pub reason: &'static str,
    /// The texts.
    pub record: SampleRecord,
}

/// Some groups of a run.
#[derive(Debug, Default)]
pub struct Groups {
    /// In the order of the run.
    pub chosen: Vec<Chosen>,
    /// How many groups there are in all.
    pub num_groups: usize,
    /// Groups whose text cannot be read, a sentence each.
    pub troubles: Vec<String>,
}

/// What makes a group worth reading.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Widest,
    HighestWorst,
    LowestBest,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Widest, Self::HighestWorst, Self::LowestBest];

    fn words(self) -> &'static str {
        match self {
            Self::Widest => "widest spread of rewards",
            Self::HighestWorst => "highest worst reward",
            Self::LowestBest => "lowest best reward",
        }
    }

    /// How much a group has of it; one without a reward has least.
    fn rank(self, entry: &SampleEntry) -> f64 {
        match (self, entry.reward_range) {
            (_, None) => f64::NEG_INFINITY,
            (Self::Widest, Some((low, high))) => high - low,
            (Self::HighestWorst, Some((low, _))) => low,
            (Self::LowestBest, Some((_, high))) => -high,
        }
    }
}

impl Groups {
    /// Chooses and reads them.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub fn read(path: &Path) -> Result<Self, TelemetryError> {
        let mut index = SampleIndex::new(path);
        while !index.refresh()? {}
        let mut groups = Self {
            num_groups: index.entries().len(),
            ..Self::default()
        };
        for (time, reason, entry) in choose(index.entries()) {
            match index.read(entry) {
                Ok(record) => groups.chosen.push(Chosen {
                    time,
                    reason,
                    record,
                }),
                Err(error) => groups.troubles.push(error.to_string()),
            }
        }
        Ok(groups)
    }
}

/// For the first tenth of the groups, the tenth in the middle and the last one: the group of each reason,
/// none twice. Groups without a reward are chosen where there are no others.
fn choose(entries: &[SampleEntry]) -> Vec<(&'static str, &'static str, &SampleEntry)> {
    let tenth = entries.len().div_ceil(10);
    let middle = (entries.len() - tenth) / 2;
    let starts = [0, middle, entries.len() - tenth];
    let mut chosen: Vec<(&str, &str, &SampleEntry)> = Vec::new();
    for (time, start) in TIMES.into_iter().zip(starts) {
        let window = &entries[start..start + tenth];
        for reason in Reason::ALL {
            let is_new = |entry: &&SampleEntry| chosen.iter().all(|(_, _, known)| known != entry);
            let best = window.iter().filter(is_new).max_by(|a, b| {
                // Of equals the first.
                let order = reason.rank(a).total_cmp(&reason.rank(b));
                order.then(std::cmp::Ordering::Greater)
            });
            if let Some(entry) = best {
                let words = match entry.reward_range {
                    Some(_) => reason.words(),
                    None => "no reward",
                };
                chosen.push((time, words, entry));
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(lines: &[(u64, Vec<f64>)]) -> (tempfile::TempDir, SampleIndex) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("samples.jsonl");
        let mut text = String::new();
        for (step, rewards) in lines {
            let completions: Vec<String> = rewards
                .iter()
                .map(|reward| format!(r#"{{"text":"t","reward":{reward},"rewards":{{}},"advantage":0,"tokens":1,"finish_reason":"stop","logprob_sum":0}}"#))
                .collect();
            text.push_str(&format!(
                "{{\"step\":{step},\"group\":0,\"prompt\":\"p\",\"completions\":[{}]}}\n",
                completions.join(",")
            ));
        }
        std::fs::write(&path, text).unwrap();
        let mut index = SampleIndex::new(path);
        assert!(index.refresh().unwrap());
        (dir, index)
    }

    #[test]
    fn the_telling_groups_of_the_start_the_middle_and_the_end_are_chosen() {
        let lines: Vec<(u64, Vec<f64>)> = (0..100)
            .map(|step| match step {
                3 => (step, vec![0.0, 1.0]),
                4 => (step, vec![0.9, 0.95]),
                5 => (step, vec![0.1, 0.15]),
                97 => (step, vec![0.2, 0.9]),
                _ => (step, vec![0.4, 0.6]),
            })
            .collect();
        let (_dir, index) = index_of(&lines);
        let chosen = choose(index.entries());
        let early: Vec<u64> = chosen
            .iter()
            .filter(|c| c.0 == "early")
            .map(|c| c.2.step)
            .collect();
        assert_eq!(early, [3, 4, 5]);
        assert_eq!(chosen.len(), 9);
        let steps = |time| chosen.iter().filter(move |c| c.0 == time).map(|c| c.2.step);
        assert!(steps("middle").all(|step| (45..55).contains(&step)));
        assert_eq!(steps("late").next(), Some(97));
    }

    #[test]
    fn few_groups_are_all_chosen_and_none_twice() {
        let (_dir, index) = index_of(&[(1, vec![0.5]), (2, vec![])]);
        let chosen = choose(index.entries());
        let steps: Vec<u64> = chosen.iter().map(|c| c.2.step).collect();
        assert_eq!(steps, [1, 2]);
        assert_eq!(chosen[1].1, "no reward");
        assert!(choose(&[]).is_empty());
    }
}
