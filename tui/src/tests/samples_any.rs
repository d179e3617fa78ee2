//! Samples of any text and any numbers: drawn without a panic, and in their cells.

use proptest::prelude::*;
use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;
use serde_json::{Map, Value, json};

use super::{read, run_with};
use crate::app::{Access, App, Msg};
use crate::keymap::{Key, Screen};
use crate::theme::Theme;
use crate::views;

/// Text of any characters, and often of those that are not one character a cell.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a 委員会สิตि\u{301}\u{200d}👩🇯🇵عיד\n\t\u{1b}\u{202e}↵‹›]{0,80}",
        "([a-z]{1,9} ){0,200}",
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!("nan")),
        Just(json!("inf")),
        Just(json!("-inf")),
        Just(json!(1)),
        Just(json!(0)),
        Just(json!(1e308)),
        (-2.0..2.0).prop_map(|value| json!(value)),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    number().prop_map(|value| if value.is_null() { json!("nan") } else { value })
}

prop_compose! {
    fn completion()(
        text in text(),
        reward in number(),
        parts in prop::collection::vec(("[a-c語]{1,20}", number()), 0..4),
        advantage in scalar(),
        logprob_sum in scalar(),
        tokens in prop_oneof![Just(0u64), Just(u64::MAX), 1..500u64],
        finish_reason in prop_oneof![Just("length".to_owned()), any::<String>()],
    ) -> Value {
        let rewards: Map<String, Value> = parts.into_iter().collect();
        json!({"text": text, "reward": reward, "rewards": rewards, "advantage": advantage, "tokens": tokens,
            "finish_reason": finish_reason, "logprob_sum": logprob_sum})
    }
}

prop_compose! {
    fn record()(
        step in prop_oneof![Just(u64::MAX), 0..50u64],
        group in any::<u64>(),
        prompt in text(),
        source in prop::option::of(text()),
        reference in prop::option::of(text()),
        task in text(),
        completions in prop::collection::vec(completion(), 0..6),
        num_generations in number(),
    ) -> Value {
        json!({"step": step, "group": group, "prompt": prompt, "source": source, "reference": reference, "task": task,
            "completions": completions, "num_generations": num_generations})
    }
}

/// Every row is as wide as the screen and holds nothing that a terminal would act on.
fn assert_in_cells(app: &App) {
    let (columns, rows) = app.size;
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    views::draw(app, area, &mut buffer);
    for row in area.rows() {
        let mut x = 0;
        while x < columns {
            let symbol = buffer[(x, row.y)].symbol();
            assert!(!symbol.contains(char::is_control), "{symbol:?}");
            x += symbol.cell_width().max(1);
        }
        assert_eq!(x, columns, "row {}", row.y);
    }
    // The right border stands in each row between the upper and the lower one.
    let body = 3..rows - if rows < 30 { 2 } else { 3 };
    for y in body {
        assert_eq!(buffer[(columns - 1, y)].symbol(), "│", "row {y}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_samples_are_drawn_in_their_cells(
        records in prop::collection::vec(record(), 1..4),
        keys in "[nNjkbwtdosgGfy/a]{0,12}",
        pages in 0..3usize,
        size in prop_oneof![Just((80, 24)), Just((120, 40)), Just((200, 60)), (80..230u16, 24..70u16)],
    ) {
        let mut samples = String::new();
        for record in &records {
            samples.push_str(&record.to_string());
            samples.push('\n');
        }
        let (_dir, run) = run_with(b"", Some(samples.as_bytes()));
        let mut app = App::new(Theme::ANSI, Access::Control);
        app.update(Msg::Size(size.0, size.1));
        let source = read(&mut app, &run);
        app.screen = Screen::Samples;
        assert_in_cells(&app);
        let keys = keys.chars().map(Key::Char).chain(std::iter::repeat_n(Key::PageDown, pages));
        for key in keys {
            app.update(Msg::Key(key));
            source.read_texts(&mut app);
            assert_in_cells(&app);
        }
    }
}
