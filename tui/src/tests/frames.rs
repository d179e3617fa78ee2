//! What single screens look like at each size, and what keys do to them.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::{LARGE, MEDIUM, Played, SMALL, check_text, fixtures, run_with};
use crate::frame_text::frame_text;
use crate::theme::Theme;
use crate::views;

/// Plays a fixture and keys, and compares the screen.
pub(super) fn check(fixture: &str, keys: &str, size: (u16, u16), name: &str) {
    check_later(fixture, 2_000, keys, size, name);
}

fn check_later(fixture: &str, age_ms: u64, keys: &str, size: (u16, u16), name: &str) {
    let mut played = Played::new(fixture, age_ms, size);
    played.press(keys);
    check_text(&frame_text(&played.app), name);
}

#[test]
fn rl_fits_each_size() {
    check("rl", "", SMALL, "rl_80x24");
    check("rl", "", MEDIUM, "rl_120x40");
    check("rl", "", LARGE, "rl_200x60");
}

#[test]
fn sft_fits_each_size() {
    check("sft", "", SMALL, "sft_80x24");
    check("sft", "", MEDIUM, "sft_120x40");
    check("sft", "", LARGE, "sft_200x60");
}

#[test]
fn po_shows_margins() {
    check("po", "", SMALL, "po_80x24");
    check("po", "", MEDIUM, "po_120x40");
}

#[test]
fn a_run_without_events_says_what_it_waits_for() {
    check("none", "", SMALL, "waiting_80x24");
}

#[test]
fn booting_names_the_phase() {
    check("booting", "", SMALL, "booting_80x24");
}

#[test]
fn finished_has_no_end_to_wait_for() {
    check("finished", "", SMALL, "finished_80x24");
    check_later("finished", 86_400_000, "", MEDIUM, "finished_120x40");
}

#[test]
fn failed_says_why() {
    check("failed", "", SMALL, "failed_80x24");
}

#[test]
fn nan_is_shown() {
    check("nan", "", SMALL, "nan_80x24");
    check("nan", "2⏎", SMALL, "nan_zoomed_80x24");
}

#[test]
fn resuming_cuts_the_curves_and_keeps_the_tails() {
    check("resumed", "", MEDIUM, "resumed_120x40");
}

#[test]
fn silence_is_told() {
    check_later("sft", 43_000, "", SMALL, "quiet_80x24");
    check_later("sft", 100_000, "", SMALL, "stalled_80x24");
    check_later("sft", 7_200_000, "", SMALL, "silent_80x24");
}

#[test]
fn a_narrow_screen_shows_the_numbers() {
    check("rl", "", (60, 18), "rl_60x18");
    check("sft", "", (40, 6), "sft_40x6");
}

#[test]
fn each_screen_has_its_keys() {
    check("rl", "2", SMALL, "rl_metrics_80x24");
    check("rl", "2jjl", MEDIUM, "rl_metrics_120x40");
    check("rl", "2/rewards⏎", SMALL, "rl_metrics_filtered_80x24");
    check("rl", "4", SMALL, "rl_data_80x24");
    check("rl", "4", MEDIUM, "rl_data_120x40");
    check("sft", "4", LARGE, "sft_data_200x60");
    check("rl", "5", SMALL, "rl_evaluation_80x24");
    check("rl", "5", MEDIUM, "rl_evaluation_120x40");
    check("rl", "5oo", LARGE, "rl_evaluation_200x60");
    check("rl", "6", SMALL, "rl_system_80x24");
    check("rl", "6", MEDIUM, "rl_system_120x40");
    check("sft", "6", LARGE, "sft_system_200x60");
    check("rl", "7", SMALL, "rl_log_80x24");
    check("rl", "7o", MEDIUM, "rl_log_warnings_120x40");
    check("rl", "8", SMALL, "rl_checkpoints_80x24");
    check("rl", "8j", MEDIUM, "rl_checkpoints_120x40");
    check("rl", "9", SMALL, "rl_runs_80x24");
    check("rl", "?", SMALL, "rl_help_80x24");
    check("rl", "3?", SMALL, "rl_samples_help_80x24");
}

#[test]
fn smoothing_and_log_y_change_the_curve() {
    check("sft", "sy", SMALL, "sft_smooth_log_80x24");
}

#[test]
fn without_colour_no_cell_has_any_and_the_text_is_the_same() {
    let mut app = Played::new("nan", 100_000, MEDIUM).app;
    let mut draw = |theme: Theme| {
        app.theme = theme;
        let mut terminal = Terminal::new(TestBackend::new(MEDIUM.0, MEDIUM.1)).unwrap();
        terminal
            .draw(|frame| views::draw(&app, frame.area(), frame.buffer_mut()))
            .unwrap();
        terminal.backend().buffer().clone()
    };
    let (plain, coloured) = (draw(Theme::PLAIN), draw(Theme::ANSI));
    let is_plain = |colour: Color| colour == Color::Reset;
    assert!(
        plain
            .content()
            .iter()
            .all(|cell| is_plain(cell.fg) && is_plain(cell.bg))
    );
    assert!(coloured.content().iter().any(|cell| cell.fg == Color::Red));
    let symbols = |buffer: &ratatui::buffer::Buffer| -> String {
        buffer.content().iter().map(|cell| cell.symbol()).collect()
    };
    assert_eq!(symbols(&plain), symbols(&coloured));
}

#[test]
fn one_picture_has_stage_loss_and_step() {
    let events = std::fs::read(fixtures().join("finished.jsonl")).unwrap();
    let (dir, _run) = run_with(&events, None);
    for (columns, rows) in [SMALL, MEDIUM, LARGE, (50, 10), (33, 4)] {
        let frame = crate::render_once(dir.path(), columns, rows).unwrap();
        assert!(frame.lines().count() <= usize::from(rows));
        for line in frame.lines() {
            assert!(
                line.chars().count() <= usize::from(columns),
                "{columns}: {line}"
            );
        }
        for word in ["sft", "loss", "20"] {
            assert!(frame.contains(word), "no {word} in\n{frame}");
        }
    }
}

#[test]
fn what_is_no_run_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let message = crate::render_once(dir.path(), 80, 24)
        .unwrap_err()
        .to_string();
    assert!(message.contains("is no run directory"), "{message}");
}
