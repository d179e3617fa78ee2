//! Times of day with their preposition: `at 2:30 PM`, `um 14:30 Uhr`, `alle 14:30`.

use super::language::Language;
use super::random::Random;

/// A time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// From 1 to 23: midnight is written in too many ways.
    pub hour: u8,
    /// From 5 to 55: full hours are written in too many ways.
    pub minute: u8,
}

impl Time {
    /// A time in steps of five minutes.
    pub fn random(random: &mut Random) -> Self {
        Self {
            hour: random.between(1, 23) as u8,
            minute: 5 * random.between(1, 11) as u8,
        }
    }

    /// The time with the preposition that says when. English counts to twelve, the others to twenty-four.
    pub fn render(&self, language: Language) -> String {
        let Self { hour, minute } = self;
        let one = *hour == 1;
        match language {
            Language::English => {
                let half = if *hour < 12 { "AM" } else { "PM" };
                format!("at {}:{minute:02} {half}", (hour + 11) % 12 + 1)
            }
            Language::German => format!("um {hour}:{minute:02} Uhr"),
            Language::French => format!("à {hour} h {minute:02}"),
            // One o'clock alone is singular in Spanish, Portuguese and Italian.
            Language::Spanish if one => format!("a la 1:{minute:02}"),
            Language::Spanish => format!("a las {hour}:{minute:02}"),
            Language::Portuguese if one => format!("à 1h{minute:02}"),
            Language::Portuguese => format!("às {hour}h{minute:02}"),
            Language::Italian if one => format!("all'1:{minute:02}"),
            Language::Italian => format!("alle {hour}:{minute:02}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hour: u8, minute: u8, expected: [&str; 6]) {
        let time = Time { hour, minute };
        assert_eq!(
            Language::ALL.map(|language| time.render(language)),
            expected
        );
    }

    #[test]
    fn the_afternoon_counts_on_after_twelve_but_in_english() {
        check(
            14,
            30,
            [
                "at 2:30 PM",
                "um 14:30 Uhr",
                "à 14 h 30",
                "a las 14:30",
                "às 14h30",
                "alle 14:30",
            ],
        );
        check(
            9,
            5,
            [
                "at 9:05 AM",
                "um 9:05 Uhr",
                "à 9 h 05",
                "a las 9:05",
                "às 9h05",
                "alle 9:05",
            ],
        );
        check(
            21,
            55,
            [
                "at 9:55 PM",
                "um 21:55 Uhr",
                "à 21 h 55",
                "a las 21:55",
                "às 21h55",
                "alle 21:55",
            ],
        );
    }

    #[test]
    fn noon_is_pm() {
        check(
            12,
            15,
            [
                "at 12:15 PM",
                "um 12:15 Uhr",
                "à 12 h 15",
                "a las 12:15",
                "às 12h15",
                "alle 12:15",
            ],
        );
        check(
            11,
            45,
            [
                "at 11:45 AM",
                "um 11:45 Uhr",
                "à 11 h 45",
                "a las 11:45",
                "às 11h45",
                "alle 11:45",
            ],
        );
    }

    #[test]
    fn one_o_clock_is_singular() {
        check(
            1,
            20,
            [
                "at 1:20 AM",
                "um 1:20 Uhr",
                "à 1 h 20",
                "a la 1:20",
                "à 1h20",
                "all'1:20",
            ],
        );
        check(
            13,
            20,
            [
                "at 1:20 PM",
                "um 13:20 Uhr",
                "à 13 h 20",
                "a las 13:20",
                "às 13h20",
                "alle 13:20",
            ],
        );
    }
}
