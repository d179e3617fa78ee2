//! Numbers with a unit: `1 hour`, `21 Stunden`, `2,5 litri`.

use super::language::Language;
use super::random::Random;

/// A number of some unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    pub whole: u8,
    /// Adds one half. Only from two on: languages disagree whether one and a half is a plural.
    pub half: bool,
    /// A row of [`UNITS`].
    pub unit: usize,
}

impl Quantity {
    /// A quantity below a hundred, small ones and halves more often than others, for they have rules of their own.
    pub fn random(random: &mut Random) -> Self {
        let unit = random.below(UNITS.len());
        if random.chance(20) {
            return Self {
                whole: random.between(2, 9) as u8,
                half: true,
                unit,
            };
        }
        let largest = if random.chance(30) { 3 } else { 99 };
        Self {
            whole: random.between(1, largest) as u8,
            half: false,
            unit,
        }
    }

    /// The number in figures and the unit in full, singular for one.
    pub fn render(&self, language: Language) -> String {
        let [singular, plural] = UNITS[self.unit][language as usize];
        let unit = if self.whole == 1 && !self.half {
            singular
        } else {
            plural
        };
        let whole = self.whole;
        match (self.half, language) {
            (false, _) => format!("{whole} {unit}"),
            (true, Language::English) => format!("{whole}.5 {unit}"),
            (true, _) => format!("{whole},5 {unit}"),
        }
    }
}

/// Singular and plural of each unit, a column for each of [`Language::ALL`].
const UNITS: [[[&str; 2]; 6]; 10] = [
    [
        ["kilometer", "kilometers"],
        ["Kilometer", "Kilometer"],
        ["kilomètre", "kilomètres"],
        ["kilómetro", "kilómetros"],
        ["quilómetro", "quilómetros"],
        ["chilometro", "chilometri"],
    ],
    [
        ["meter", "meters"],
        ["Meter", "Meter"],
        ["mètre", "mètres"],
        ["metro", "metros"],
        ["metro", "metros"],
        ["metro", "metri"],
    ],
    [
        ["kilogram", "kilograms"],
        ["Kilogramm", "Kilogramm"],
        ["kilogramme", "kilogrammes"],
        ["kilogramo", "kilogramos"],
        ["quilograma", "quilogramas"],
        ["chilogrammo", "chilogrammi"],
    ],
    [
        ["liter", "liters"],
        ["Liter", "Liter"],
        ["litre", "litres"],
        ["litro", "litros"],
        ["litro", "litros"],
        ["litro", "litri"],
    ],
    [
        ["degree", "degrees"],
        ["Grad", "Grad"],
        ["degré", "degrés"],
        ["grado", "grados"],
        ["grau", "graus"],
        ["grado", "gradi"],
    ],
    [
        ["minute", "minutes"],
        ["Minute", "Minuten"],
        ["minute", "minutes"],
        ["minuto", "minutos"],
        ["minuto", "minutos"],
        ["minuto", "minuti"],
    ],
    [
        ["hour", "hours"],
        ["Stunde", "Stunden"],
        ["heure", "heures"],
        ["hora", "horas"],
        ["hora", "horas"],
        ["ora", "ore"],
    ],
    [
        ["day", "days"],
        ["Tag", "Tage"],
        ["jour", "jours"],
        ["día", "días"],
        ["dia", "dias"],
        ["giorno", "giorni"],
    ],
    [
        ["week", "weeks"],
        ["Woche", "Wochen"],
        ["semaine", "semaines"],
        ["semana", "semanas"],
        ["semana", "semanas"],
        ["settimana", "settimane"],
    ],
    [
        ["year", "years"],
        ["Jahr", "Jahre"],
        ["an", "ans"],
        ["año", "años"],
        ["ano", "anos"],
        ["anno", "anni"],
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(whole: u8, half: bool, unit: usize, expected: [&str; 6]) {
        let quantity = Quantity { whole, half, unit };
        assert_eq!(
            Language::ALL.map(|language| quantity.render(language)),
            expected
        );
    }

    #[test]
    fn one_is_singular_and_german_measures_have_no_plural() {
        check(
            1,
            false,
            0,
            [
                "1 kilometer",
                "1 Kilometer",
                "1 kilomètre",
                "1 kilómetro",
                "1 quilómetro",
                "1 chilometro",
            ],
        );
        check(
            5,
            false,
            0,
            [
                "5 kilometers",
                "5 Kilometer",
                "5 kilomètres",
                "5 kilómetros",
                "5 quilómetros",
                "5 chilometri",
            ],
        );
        check(
            20,
            false,
            4,
            [
                "20 degrees",
                "20 Grad",
                "20 degrés",
                "20 grados",
                "20 graus",
                "20 gradi",
            ],
        );
        check(
            21,
            false,
            6,
            [
                "21 hours",
                "21 Stunden",
                "21 heures",
                "21 horas",
                "21 horas",
                "21 ore",
            ],
        );
    }

    #[test]
    fn a_half_is_plural_and_takes_a_comma_but_in_english() {
        check(
            2,
            true,
            3,
            [
                "2.5 liters",
                "2,5 Liter",
                "2,5 litres",
                "2,5 litros",
                "2,5 litros",
                "2,5 litri",
            ],
        );
        check(
            7,
            true,
            2,
            [
                "7.5 kilograms",
                "7,5 Kilogramm",
                "7,5 kilogrammes",
                "7,5 kilogramos",
                "7,5 quilogramas",
                "7,5 chilogrammi",
            ],
        );
    }

    #[test]
    fn time_units_have_plurals() {
        check(
            2,
            false,
            7,
            [
                "2 days", "2 Tage", "2 jours", "2 días", "2 dias", "2 giorni",
            ],
        );
        check(
            3,
            false,
            8,
            [
                "3 weeks",
                "3 Wochen",
                "3 semaines",
                "3 semanas",
                "3 semanas",
                "3 settimane",
            ],
        );
        check(
            10,
            false,
            9,
            [
                "10 years", "10 Jahre", "10 ans", "10 años", "10 anos", "10 anni",
            ],
        );
    }
}
