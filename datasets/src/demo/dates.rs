//! Dates as they are written out: `March 3, 2021`, `3. März 2021`, `3 de marzo de 2021`.

use super::language::Language;
use super::random::Random;

/// A day of the year, sometimes with its year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// From 1.
    pub day: u8,
    /// From 1 (January) to 12.
    pub month: u8,
    pub year: Option<u16>,
}

impl Date {
    /// A date, in one of four cases with a year: four more digits to copy make the longest answers of the corpus.
    pub fn random(random: &mut Random) -> Self {
        let month = random.between(1, 12);
        let day = random.between(1, DAYS[month - 1]) as u8;
        let year = random.chance(25).then(|| random.between(1990, 2029) as u16);
        Self {
            day,
            month: month as u8,
            year,
        }
    }

    /// The date in words and figures.
    pub fn render(&self, language: Language) -> String {
        let day = self.day;
        let month = MONTHS[language as usize][usize::from(self.month) - 1];
        let date = match language {
            Language::English => format!("{month} {day}"),
            Language::German => format!("{day}. {month}"),
            // The first of a month is an ordinal in French and Italian.
            Language::French if day == 1 => format!("1er {month}"),
            Language::Italian if day == 1 => format!("1º {month}"),
            Language::French | Language::Italian => format!("{day} {month}"),
            Language::Spanish | Language::Portuguese => format!("{day} de {month}"),
        };
        match (self.year, language) {
            (None, _) => date,
            (Some(year), Language::English) => format!("{date}, {year}"),
            (Some(year), Language::Spanish | Language::Portuguese) => format!("{date} de {year}"),
            (Some(year), _) => format!("{date} {year}"),
        }
    }
}

/// February has 28, so that every date exists in every year.
const DAYS: [usize; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const MONTHS: [[&str; 12]; 6] = [
    [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
    [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    [
        "janeiro",
        "fevereiro",
        "março",
        "abril",
        "maio",
        "junho",
        "julho",
        "agosto",
        "setembro",
        "outubro",
        "novembro",
        "dezembro",
    ],
    [
        "gennaio",
        "febbraio",
        "marzo",
        "aprile",
        "maggio",
        "giugno",
        "luglio",
        "agosto",
        "settembre",
        "ottobre",
        "novembre",
        "dicembre",
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(day: u8, month: u8, year: Option<u16>, expected: [&str; 6]) {
        let date = Date { day, month, year };
        assert_eq!(
            Language::ALL.map(|language| date.render(language)),
            expected
        );
    }

    #[test]
    fn dates_follow_each_language() {
        check(
            3,
            3,
            None,
            [
                "March 3",
                "3. März",
                "3 mars",
                "3 de marzo",
                "3 de março",
                "3 marzo",
            ],
        );
        let expected = [
            "August 15",
            "15. August",
            "15 août",
            "15 de agosto",
            "15 de agosto",
            "15 agosto",
        ];
        check(15, 8, None, expected);
        let expected = [
            "May 20, 2021",
            "20. Mai 2021",
            "20 mai 2021",
            "20 de mayo de 2021",
            "20 de maio de 2021",
            "20 maggio 2021",
        ];
        check(20, 5, Some(2021), expected);
    }

    #[test]
    fn the_first_of_the_month_is_an_ordinal_in_french_and_italian() {
        check(
            1,
            1,
            None,
            [
                "January 1",
                "1. Januar",
                "1er janvier",
                "1 de enero",
                "1 de janeiro",
                "1º gennaio",
            ],
        );
        check(
            21,
            1,
            None,
            [
                "January 21",
                "21. Januar",
                "21 janvier",
                "21 de enero",
                "21 de janeiro",
                "21 gennaio",
            ],
        );
    }

    #[test]
    fn the_months_are_spelled_in_each_language() {
        let december = [
            "December 24",
            "24. Dezember",
            "24 décembre",
            "24 de diciembre",
            "24 de dezembro",
            "24 dicembre",
        ];
        check(24, 12, None, december);
        check(
            9,
            7,
            None,
            [
                "July 9",
                "9. Juli",
                "9 juillet",
                "9 de julio",
                "9 de julho",
                "9 luglio",
            ],
        );
        check(
            28,
            2,
            None,
            [
                "February 28",
                "28. Februar",
                "28 février",
                "28 de febrero",
                "28 de fevereiro",
                "28 febbraio",
            ],
        );
    }
}
