//! What an unknown key was probably meant to be.

use toml::Value;

use super::choices::StageName;
use super::{GROUPS, import};

/// Keys that people know from elsewhere and that Keep says differently.
const ELSEWHERE: &[(&str, &str)] = &[
    ("output_dir", "the run directory is a flag: `--output DIR`"),
    ("device", "the device is a flag: `--device D`"),
    (
        "resume_from_checkpoint",
        "resuming is a flag: `--resume DIR`",
    ),
    (
        "stage",
        "the stage is a flag: `--stage S`; a recipe has a table for each, such as [sft]",
    ),
    ("use_peft", "LoRA is `lora_r` above 0"),
];

/// What to write for a key that Keep says differently.
pub(super) fn elsewhere(name: &str) -> Option<&'static str> {
    let known = ELSEWHERE.iter().find(|(known, _)| *known == name)?;
    Some(known.1)
}

/// The sentence that helps someone who gave a stage the unknown key `name`.
pub(super) fn advice(stage: StageName, name: &str, value: &Value) -> String {
    let known = elsewhere(name).map(str::to_owned);
    known
        .or_else(|| import::advice::of_key(stage, name, value))
        .unwrap_or_else(|| suggestion(name))
}

/// The key that was probably meant.
fn suggestion(name: &str) -> String {
    let keys = GROUPS.iter().flat_map(|group| group.keys);
    let spellings = keys.flat_map(|key| {
        std::iter::once(key.name)
            .chain(key.spec.aliases.iter().copied())
            .map(move |spelling| (edit_distance(name, spelling), key.name))
    });
    let (distance, nearest) = spellings
        .min_by_key(|(distance, _)| *distance)
        .expect("the schema has keys");
    if distance <= (name.chars().count() / 3).max(2) {
        format!("did you mean `{nearest}`?")
    } else {
        format!("the nearest key is `{nearest}`")
    }
}

/// The word of a list that `word` was probably meant to be.
pub(super) fn nearest_word(word: &str, words: &'static [&'static str]) -> Option<&'static str> {
    let words = words.iter().copied();
    words.min_by_key(|known| edit_distance(word, known))
}

/// The word that differs from `word` by so little that it was most likely meant: a fourth of its letters.
pub(super) fn near_word<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = words.map(|known| (edit_distance(word, known), known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= word.chars().count() / 4).then_some(nearest)
}

/// The word that `word` is nearly, or that it only adds to.
pub(super) fn near_or_contained(
    word: &str,
    words: &'static [&'static str],
) -> Option<&'static str> {
    let contained = || {
        let contained = words.iter().copied().filter(|known| word.contains(known));
        contained.max_by_key(|known| known.len())
    };
    near_word(word, words.iter().copied()).or_else(contained)
}

/// The least number of insertions, deletions, replacements and swaps of neighbours that turn `a`
/// into `b` (the restricted Damerau-Levenshtein distance).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_a_swap_of_neighbours_as_one() {
        assert_eq!(edit_distance("beta", "beta"), 0);
        assert_eq!(edit_distance("baet", "beta"), 2);
        assert_eq!(edit_distance("ebta", "beta"), 1);
        assert_eq!(edit_distance("", "beta"), 4);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_misspelled_key_is_told_the_key() {
        assert_eq!(suggestion("learning_rat"), "did you mean `learning_rate`?");
        assert_eq!(
            suggestion("grad_accumulation_steps"),
            "did you mean `gradient_accumulation_steps`?"
        );
        assert_eq!(
            suggestion("num_generation"),
            "did you mean `num_generations`?"
        );
    }

    #[test]
    fn a_misspelled_alias_is_told_the_key_itself() {
        assert_eq!(
            suggestion("micro_batch_sise"),
            "did you mean `per_device_train_batch_size`?"
        );
    }

    #[test]
    fn a_key_that_is_a_flag_here_is_told_the_flag() {
        let advice = advice(StageName::Sft, "output_dir", &Value::from("runs/a"));
        assert!(advice.contains("--output"), "{advice}");
    }

    #[test]
    fn a_key_of_another_program_is_told_what_becomes_of_it_there_and_others_the_nearest() {
        let on = Value::Boolean(true);
        let theirs = advice(StageName::Po, "precompute_ref_log_probs", &on);
        assert!(theirs.contains("not needed"), "{theirs}");
        assert_eq!(
            advice(StageName::Po, "learning_rat", &on),
            "did you mean `learning_rate`?"
        );
    }

    #[test]
    fn a_word_with_more_around_it_is_near() {
        let near = |word| near_or_contained(word, &["adamw_torch", "adamw_8bit"]);
        assert_eq!(near("adamw_8bit_bnb"), Some("adamw_8bit"));
        assert_eq!(near("adam_8bit"), Some("adamw_8bit"));
        assert_eq!(near("lion"), None);
    }
}
