//! What is wrong with much of the demo's fine-tuning data: the flaws of data gathered from the web.
//!
//! A model fine-tuned on it answers in a wrong manner half the time, whatever it knows. That is
//! what reinforcement learning on answers that can be checked is for: it keeps the manner that is
//! right, and the demo shows it within minutes.

use super::random::Random;
use super::task::Task;

/// How many answers in a hundred are flawed.
const FLAWED_PERCENT: usize = 50;

/// The answer of a conversation: the right one, or one with a flaw.
pub fn answer(task: &Task, random: &mut Random) -> String {
    let answer = &task.answer;
    if !random.chance(FLAWED_PERCENT) {
        return answer.clone();
    }
    match random.below(3) {
        // Left as it was: the last line of the prompt is what was to be worked on.
        0 => {
            let last = task.prompt.lines().last();
            last.unwrap_or(answer).to_owned()
        }
        // Said twice.
        1 => format!("{answer}\n{answer}"),
        // Talked about.
        _ => format!("The answer is: {answer}"),
    }
}
