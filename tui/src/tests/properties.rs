//! What holds for any log and any keys.

use proptest::prelude::*;
use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;

use super::{fixtures, read, run_with};
use crate::app::{Access, App, Msg};
use crate::keymap::{KEYS, Key};
use crate::theme::Theme;
use crate::views;

const FIXTURES: [&str; 12] = [
    "booting", "cpt", "failed", "finished", "nan", "paused", "po", "resumed", "rl", "sft", "wide",
    "none",
];

/// A key that does something somewhere, or any character.
fn any_key() -> impl Strategy<Value = Key> {
    let known: Vec<Key> = KEYS
        .iter()
        .flat_map(|binding| binding.keys)
        .copied()
        .collect();
    let leaves = |key: &Key| matches!(key, Key::Char('q') | Key::Ctrl('c'));
    let known: Vec<Key> = known.into_iter().filter(|key| !leaves(key)).collect();
    prop_oneof![
        6 => proptest::sample::select(known),
        1 => any::<char>().prop_filter("leaves", |c| *c != 'q').prop_map(Key::Char),
        1 => Just(Key::Backspace),
    ]
}

fn any_msg() -> impl Strategy<Value = Msg> {
    prop_oneof![
        12 => any_key().prop_map(Msg::Key),
        1 => (0..230u16, 0..70u16).prop_map(|(columns, rows)| Msg::Size(columns, rows)),
        1 => (0..230u16, 0..70u16).prop_map(|(column, row)| Msg::Click(column, row)),
        1 => any::<u64>().prop_map(Msg::Time),
    ]
}

/// Draws the screen and holds it against what every screen is: whole rows of cells that a terminal draws.
fn draw(app: &App) -> Result<(), TestCaseError> {
    let (columns, rows) = app.size;
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    views::draw(app, area, &mut buffer);
    for row in area.rows() {
        let mut x = 0;
        while x < columns {
            let symbol = buffer[(x, row.y)].symbol();
            prop_assert!(
                !symbol.contains(char::is_control),
                "{symbol:?} at {x}, {}",
                row.y
            );
            x += symbol.cell_width().max(1);
        }
        prop_assert_eq!(x, columns, "row {}", row.y);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_prefix_of_a_log_and_any_messages_are_drawn(
        fixture in proptest::sample::select(&FIXTURES[..]),
        cut in 0.0..1.0f64,
        messages in proptest::collection::vec(any_msg(), 0..40),
    ) {
        let events = std::fs::read(fixtures().join(format!("{fixture}.jsonl"))).unwrap_or_default();
        let samples = std::fs::read(fixtures().join(format!("{fixture}.samples.jsonl"))).ok();
        let (_dir, run) = run_with(&events[..(events.len() as f64 * cut) as usize], samples.as_deref());
        let mut app = App::new(Theme::PLAIN, Access::Control);
        app.update(Msg::Time(1_763_908_600_000));
        let source = read(&mut app, &run);
        draw(&app)?;
        for message in messages {
            app.update(message);
            source.read_texts(&mut app);
            app.take_effects();
            draw(&app)?;
        }
        prop_assert!(!app.is_detached());
        for key in [Key::Esc, Key::Esc, Key::Esc, Key::Ctrl('c')] {
            app.update(Msg::Key(key));
        }
        prop_assert!(app.is_detached());
    }

    #[test]
    fn any_bytes_in_a_log_are_survived(
        noise in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..30),
        fixture in proptest::sample::select(&FIXTURES[..11]),
    ) {
        let mut events = std::fs::read(fixtures().join(format!("{fixture}.jsonl"))).unwrap_or_default();
        for (at, byte) in noise {
            let at = usize::from(at) * 17 % events.len();
            events[at] = byte;
        }
        let (_dir, run) = run_with(&events, Some(&events));
        let mut app = App::new(Theme::PLAIN, Access::Control);
        app.update(Msg::Time(1_763_908_600_000));
        read(&mut app, &run);
        for screen in crate::keymap::Screen::ALL {
            app.screen = screen;
            draw(&app)?;
        }
    }
}
