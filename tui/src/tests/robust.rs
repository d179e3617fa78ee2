//! Nothing in a log, on a keyboard or about a screen may end the viewer.

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;

use std::time::Instant;

use telemetry::event::Step;
use telemetry::{Fields, Line, Scalar};

use super::{Played, fixtures, read, run_with};
use crate::app::{Access, App, Msg, RunMsg};
use crate::frame_text::frame_text;
use crate::keymap::Screen;
use crate::store::timeline::XAxis;
use crate::theme::Theme;
use crate::views;

/// A generator that is good enough for choosing keys (Marsaglia 2003, "Xorshift RNGs").
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn a_log_cut_at_any_byte_is_shown() {
    for fixture in ["resumed", "wide", "failed"] {
        let whole = std::fs::read(fixtures().join(format!("{fixture}.jsonl"))).unwrap();
        // Every byte of the first line and of the last, and some between.
        let ends =
            (0..whole.len()).filter(|end| *end < 300 || whole.len() - end < 200 || end % 397 == 0);
        for end in ends {
            let (_dir, run) = run_with(&whole[..end], Some(&whole[..end]));
            let mut app = App::new(Theme::PLAIN, Access::Control);
            app.update(Msg::Size(80, 24));
            app.update(Msg::Time(1_763_906_800_000));
            read(&mut app, &run);
            frame_text(&app);
        }
    }
}

#[test]
fn a_line_of_any_shape_is_shown() {
    let huge = "9".repeat(400);
    let lines = [
        r#"{"v":1,"time":18446744073709551615,"kind":"step","step":18446744073709551615,"loss":1e308,"grad_norm":-1e308,"learning_rate":0,"tokens_per_second":"-inf"}"#,
        r#"{"v":1,"time":0,"kind":"step","step":0,"loss":-1e308,"grad_norm":1e308,"learning_rate":5e-324,"tokens_per_second":"inf"}"#,
        r#"{"v":1,"time":5,"kind":"run_started","stage":"","model":"","device":"","dtype":"","parameters":0,"seed":0,"total_steps":0}"#,
        r#"{"v":1,"time":5,"kind":"run_started","stage":"塔","model":"m","device":"d","dtype":"t","parameters":18446744073709551615,"seed":0,"total_steps":18446744073709551615}"#,
        r#"{"v":1,"time":6,"kind":"evaluation","step":18446744073709551615,"name":"","table":[]}"#,
        r#"{"v":1,"time":6,"kind":"evaluation","step":1,"name":"a","table":[{"group":"","count":0,"metrics":{}}],"x":"nan"}"#,
        r#"{"v":1,"time":6,"kind":"resumed","from_step":18446744073709551615}"#,
        r#"{"v":1,"time":7,"kind":"resumed","from_step":0}"#,
        r#"{"v":1,"time":7,"kind":"finished","reason":"","step":0,"seconds":"nan"}"#,
        r#"{"v":1,"time":7,"kind":"checkpoint","step":0,"path":"","bytes":18446744073709551615,"seconds":-1e300}"#,
    ];
    let mut random = Random(7);
    for _ in 0..300 {
        let mut log = String::new();
        for _ in 0..random.below(12) {
            log.push_str(lines[random.below(lines.len() as u64) as usize]);
            log.push('\n');
        }
        let (_dir, run) = run_with(log.replace("1e308", &huge[..8]).as_bytes(), None);
        for screen in Screen::ALL {
            let mut app = App::new(Theme::PLAIN, Access::Control);
            app.screen = screen;
            app.charts.zoom = random.below(21) as u32;
            app.charts.log_y = random.below(2) == 0;
            app.charts.smoothing = 0.9;
            app.update(Msg::Size(120, 40));
            app.update(Msg::Time(random.below(u64::MAX)));
            read(&mut app, &run);
            frame_text(&app);
        }
    }
}

#[test]
fn a_million_steps_are_drawn_within_a_frame_and_held_in_bounded_memory() {
    let mut app = App::new(Theme::PLAIN, Access::Control);
    app.update(Msg::Found("long".to_owned(), "runs/long".to_owned()));
    app.update(Msg::Size(200, 60));
    let names: Vec<String> = (0..20).map(|at| format!("rewards/part{at}/mean")).collect();
    for thousand in 0..1000u64 {
        let step = |at: u64| {
            let step = thousand * 1000 + at + 1;
            let mut fields = Fields::new().with("num_tokens", 4096u64);
            for name in names
                .iter()
                .take(if step.is_multiple_of(10) { 20 } else { 2 })
            {
                fields.set(name.as_str(), (step % 97) as f64);
            }
            let event = Step {
                step,
                loss: Scalar(1.0 / step as f64),
                grad_norm: Scalar(1.0),
                learning_rate: Scalar(1e-6),
                tokens_per_second: Scalar(9e3),
                fields,
            };
            Line::new(step * 1000, event)
        };
        let lines = (0..1000).map(step).collect();
        let at_end = thousand == 999;
        app.update(Msg::Run(0, RunMsg::Lines { lines, at_end }));
    }
    // As in 40 metrics: what the state holds does not grow with the steps.
    let held: usize = app
        .run()
        .unwrap()
        .store
        .steps
        .iter()
        .map(|m| m.curve.num_bytes())
        .sum();
    assert!(held < 25 * 800_000, "{held} bytes of curves");
    for screen in [Screen::Overview, Screen::Metrics, Screen::System] {
        app.screen = screen;
        app.charts.smoothing = 0.9;
        app.charts.x = XAxis::Tokens;
        let took = |_| {
            let began = Instant::now();
            frame_text(&app);
            began.elapsed()
        };
        // The best of several: other work on the machine is not the viewer's.
        let frame = (0..9).map(took).min().unwrap();
        if !cfg!(debug_assertions) {
            assert!(frame.as_millis() < 16, "{frame:?} on {screen:?}");
        }
    }
}

#[test]
fn wide_text_stays_in_its_cells() {
    for size in [
        (80, 24),
        (81, 25),
        (120, 40),
        (133, 47),
        (200, 60),
        (50, 12),
    ] {
        for keys in ["", "2", "2⏎", "3", "3j", "3jj", "3jjj", "3t", "4", "?"] {
            let mut played = Played::new("wide", 1_000, size);
            played.press(keys);
            let area = Rect::new(0, 0, size.0, size.1);
            let mut buffer = Buffer::empty(area);
            views::draw(&played.app, area, &mut buffer);
            for row in area.rows() {
                let mut x = 0;
                while x < size.0 {
                    let symbol = buffer[(x, row.y)].symbol();
                    assert!(
                        !symbol.contains(char::is_control),
                        "{symbol:?} at {x}, {}",
                        row.y
                    );
                    x += symbol.cell_width().max(1);
                }
                assert_eq!(x, size.0, "row {} of {size:?} after {keys:?}", row.y);
            }
            assert_borders_meet(&buffer, size, keys);
        }
    }
}

/// Where a box begins at the left edge or ends at the right edge, its sides go on down to its end.
fn assert_borders_meet(buffer: &Buffer, (columns, rows): (u16, u16), keys: &str) {
    for (x, from, to) in [(0, "┌", "└"), (columns - 1, "┐", "┘")] {
        let mut is_open = false;
        for y in 0..rows {
            let symbol = buffer[(x, y)].symbol();
            if is_open {
                assert!(
                    symbol == "│" || symbol == to,
                    "{symbol:?} at {x}, {y} after {keys:?}"
                );
            }
            is_open = symbol == from || is_open && symbol != to;
        }
    }
}
