//! Colours by role. There are few, all of the terminal's own sixteen, and each goes with a glyph or a word,
//! so that nothing is lost without them.

use ratatui::style::{Color, Modifier, Style};

/// What the screen is drawn in. White, black and yellow text are left out: some background hides each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    palette: Palette,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Palette {
    Ansi,
    Plain,
}

impl Theme {
    /// The terminal's sixteen colours.
    pub const ANSI: Self = Self {
        palette: Palette::Ansi,
    };

    /// No colour at all, only bold, dim, underlined and struck text.
    pub const PLAIN: Self = Self {
        palette: Palette::Plain,
    };

    /// As the environment asks: `NO_COLOR`, set to anything but nothing, means no colour
    /// (<https://no-color.org>).
    pub fn from_env() -> Self {
        match std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            true => Self::PLAIN,
            false => Self::ANSI,
        }
    }

    /// All is well: ● ✔.
    pub fn ok(self) -> Style {
        self.colour(Color::Green)
    }

    /// Worth a look: ▲.
    pub fn warn(self) -> Style {
        self.colour(Color::Magenta)
    }

    /// Broken: ✖.
    pub fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Keys and other hints.
    pub fn hint(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// What is there to be found, not to be read.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Names of things.
    pub fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Where the selection is: ▸.
    pub fn selected(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// What a text has that another lacks: ‹+›.
    pub fn inserted(self) -> Style {
        self.colour(Color::Green).add_modifier(Modifier::UNDERLINED)
    }

    /// What a text lacks that another has: ‹−›.
    pub fn deleted(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::CROSSED_OUT)
    }

    /// The curve of the chart with that number.
    pub fn curve(self, number: usize) -> Style {
        const COLOURS: [Color; 3] = [Color::Cyan, Color::Green, Color::Blue];
        self.colour(COLOURS[number % COLOURS.len()])
    }

    /// The curve of a run beside the one that is looked at.
    pub fn overlay(self, number: usize) -> Style {
        const COLOURS: [Color; 4] = [Color::Magenta, Color::Green, Color::Blue, Color::Red];
        self.colour(COLOURS[number % COLOURS.len()])
    }

    fn colour(self, colour: Color) -> Style {
        match self.palette {
            Palette::Ansi => Style::new().fg(colour),
            Palette::Plain => Style::new(),
        }
    }
}
