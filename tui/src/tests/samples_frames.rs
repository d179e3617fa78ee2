//! The samples screen against its pictures in `snapshots/`.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use super::frames::check;
use super::{LARGE, MEDIUM, Played, SMALL, check_text};
use crate::app::{Effect, Msg};
use crate::frame_text::frame_text;
use crate::keymap::Key;
use crate::theme::Theme;
use crate::views;

#[test]
fn samples_fit_each_size() {
    check("rl", "3", SMALL, "rl_samples_80x24");
    check("rl", "3", MEDIUM, "rl_samples_120x40");
    check("rl", "3", LARGE, "rl_samples_200x60");
}

#[test]
fn groups_come_in_the_order_asked_for_and_completions_by_reward() {
    check("rl", "3oonw", MEDIUM, "rl_samples_ordered_120x40");
    check("groups", "3/en-ja⏎s", MEDIUM, "groups_by_reward_120x40");
    check("groups", "3o", SMALL, "groups_by_spread_80x24");
}

#[test]
fn differences_are_marked_against_the_reference_and_the_best() {
    check("groups", "3/ja⏎d", MEDIUM, "groups_diff_reference_120x40");
    check("groups", "3/ja⏎dd", MEDIUM, "groups_diff_best_120x40");
    check("groups", "3/ja⏎d", LARGE, "groups_diff_reference_200x60");
    check("groups", "3/en-th⏎dj", SMALL, "groups_diff_thai_80x24");
    check("groups", "3/math⏎djj", SMALL, "groups_diff_unlike_80x24");
}

#[test]
fn what_is_no_number_or_missing_is_shown_as_that() {
    check("groups", "3/en-ar⏎", MEDIUM, "groups_nan_120x40");
}

#[test]
fn long_texts_are_scrolled() {
    check("groups", "3", SMALL, "groups_long_80x24");
    let mut played = Played::new("groups", 2_000, SMALL);
    played.press("3");
    for _ in 0..2 {
        played.app.update(Msg::Key(Key::PageDown));
    }
    check_text(&frame_text(&played.app), "groups_long_scrolled_80x24");
    for _ in 0..20 {
        played.app.update(Msg::Key(Key::PageDown));
    }
    let end = frame_text(&played.app);
    assert!(end.contains("Answer: 64"), "the last completion:\n{end}");
    played.app.update(Msg::Key(Key::PageUp));
    assert_ne!(frame_text(&played.app), end, "the first key back moves");
    for _ in 0..20 {
        played.app.update(Msg::Key(Key::PageUp));
    }
    assert!(frame_text(&played.app).contains("Let me go through the days"));
    check("groups", "3t", SMALL, "groups_prompt_80x24");
    check("groups", "3tjjj", SMALL, "groups_prompt_scrolled_80x24");
}

#[test]
fn every_completion_is_reached_and_its_place_is_told() {
    let mut played = Played::new("groups", 2_000, SMALL);
    played.press("3/ja⏎");
    for number in 1..=8 {
        let frame = frame_text(&played.app);
        assert!(
            frame.contains(&format!("▸{number}/8")),
            "{number}:\n{frame}"
        );
        played.press("j");
    }
    played.press("b");
    assert!(frame_text(&played.app).contains("▸1/8"));
    played.press("w");
    check_text(&frame_text(&played.app), "groups_worst_80x24");
}

#[test]
fn a_filter_is_over_when_the_screen_is_left() {
    check("groups", "3/EN- 12/⏎n", SMALL, "groups_filtered_80x24");
    check("groups", "3/nothing⏎", SMALL, "groups_filtered_out_80x24");
    for keys in ["3/math⏎⎋", "3/math⏎13"] {
        let mut played = Played::new("groups", 2_000, SMALL);
        played.press(keys);
        let frame = frame_text(&played.app);
        assert!(frame.contains("5 groups"), "{keys}:\n{frame}");
    }
}

#[test]
fn wide_text_is_drawn() {
    check("wide", "3", SMALL, "wide_samples_80x24");
    check("wide", "3d", MEDIUM, "wide_samples_diff_120x40");
    check("wide", "3t", LARGE, "wide_samples_prompt_200x60");
}

#[test]
fn without_samples_the_answers_of_the_latest_evaluation_are_shown() {
    check("answers", "3", SMALL, "answers_80x24");
    check("answers", "3dn", MEDIUM, "answers_diff_120x40");
    check("answers", "3", LARGE, "answers_200x60");
}

#[test]
fn without_any_text_the_screen_says_what_makes_some() {
    check("sft", "3", SMALL, "sft_samples_80x24");
    check("po", "3", MEDIUM, "po_samples_120x40");
    check("booting", "3", SMALL, "booting_samples_80x24");
    check("none", "3", SMALL, "none_samples_80x24");
}

#[test]
fn what_is_looked_at_can_be_taken_away() {
    let mut played = Played::new("groups", 2_000, MEDIUM);
    played.press("3/ja⏎by");
    let best = "委員会は5月3日に再び会合を開き、予算を決定します。";
    let effects = played.app.take_effects();
    assert_eq!(effects, [Effect::Copy(best.to_owned())]);
    played.press("e");
    let effects = played.app.take_effects();
    let [Effect::Export(name, text)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(name, "tower_plus_2b_groups-samples-12-0.txt");
    for part in [
        "step 12 group 0 en-ja",
        best,
        "8. reward 0.05",
        "256 tokens, length",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    played.press("ty");
    let effects = played.app.take_effects();
    let [Effect::Copy(prompt)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert!(prompt.starts_with("Translate the following text"));
}

#[test]
fn who_reads_a_completion_stays_there_when_another_group_comes() {
    let mut played = Played::new("groups", 2_000, SMALL);
    let shown = |played: &Played| {
        let frame = frame_text(&played.app);
        frame.contains("group 12/3")
    };
    played.press("3");
    assert!(shown(&played) && frame_text(&played.app).contains("▸ newest"));
    let add = |played: &mut Played, group: u64| {
        let path = played.dir.path().join("tower_plus_2b/groups/samples.jsonl");
        let line = format!(
            r#"{{"step":13,"group":{group},"prompt":"p","completions":[{{"text":"t","reward":0,"rewards":{{}},"advantage":0,"tokens":1,"finish_reason":"stop","logprob_sum":0}}]}}"#
        );
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += &line;
        text.push('\n');
        std::fs::write(path, text).unwrap();
        let clock = telemetry::FixedClock::new(0);
        while !played.source.poll(&mut played.app, &clock).unwrap() {}
    };
    played.press("j");
    add(&mut played, 0);
    assert!(shown(&played), "it was being read");
    played.press("g");
    assert!(!shown(&played), "the newest");
    add(&mut played, 1);
    assert!(frame_text(&played.app).contains("group 13/1"), "followed");
}

#[test]
fn differences_have_colours_and_without_these_lines_and_always_marks() {
    let mut played = Played::new("groups", 2_000, MEDIUM);
    played.press("3/ja⏎d");
    let mut draw = |theme: Theme| {
        played.app.theme = theme;
        let area = Rect::new(0, 0, MEDIUM.0, MEDIUM.1);
        let mut buffer = Buffer::empty(area);
        views::draw(&played.app, area, &mut buffer);
        buffer
    };
    let (plain, coloured) = (draw(Theme::PLAIN), draw(Theme::ANSI));
    let with = |buffer: &Buffer, modifier: Modifier| {
        let cells = buffer.content().iter();
        cells
            .filter(|cell| cell.modifier.contains(modifier))
            .count()
    };
    for modifier in [Modifier::CROSSED_OUT, Modifier::UNDERLINED] {
        assert!(with(&plain, modifier) > 10);
        assert_eq!(with(&plain, modifier), with(&coloured, modifier));
    }
    let content = plain.content();
    assert!(
        content
            .iter()
            .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
    let struck = |cell: &&ratatui::buffer::Cell| cell.modifier.contains(Modifier::CROSSED_OUT);
    assert!(
        coloured
            .content()
            .iter()
            .filter(struck)
            .all(|cell| cell.fg == Color::Red)
    );
}
