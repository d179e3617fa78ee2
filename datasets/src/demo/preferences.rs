//! Preferences: a right answer and one that goes wrong the way small models do.

use super::content::Content;
use super::mix::Topic;
use super::random::Random;
use super::task::{Split, Task};
use serde_json::{Value, json};

/// `{"prompt", "chosen", "rejected"}` of a training task.
pub fn preference(random: &mut Random) -> Value {
    let task = Task::random(Split::Train, random);
    let rejected = loop {
        let answer = wrong(&task, random);
        // Another exercise may have the same answer, and languages share words and dates.
        if answer != task.answer {
            break answer;
        }
    };
    json!({"prompt": task.prompt, "chosen": task.answer, "rejected": rejected})
}

fn wrong(task: &Task, random: &mut Random) -> String {
    match (task.topic, &task.translation) {
        // Left as it was.
        (Topic::Translation(_), Some((source, ..))) if random.chance(25) => source.clone(),
        // The right language, the wrong words.
        (Topic::Translation(kind), Some((_, _, to))) => Content::random(kind, random).render(*to),
        (Topic::General(skill), _) => skill.exercise(random).answer,
        (Topic::Translation(_), None) => unreachable!("{task:?} has no source"),
    }
}
