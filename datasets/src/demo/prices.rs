//! Prices in a sentence: `It costs €3.50.`, `Es kostet 3,50 €.`

use super::language::Language;
use super::random::Random;

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// The currency's sign.
    pub sign: char,
    pub units: u8,
    pub cents: u8,
}

impl Price {
    /// A price below a hundred, with cents as shops like them.
    pub fn random(random: &mut Random) -> Self {
        let sign = random.pick(&['€', '$', '£']);
        Self {
            sign,
            units: random.between(1, 99) as u8,
            cents: random.pick(&[20, 50, 75, 95, 99]),
        }
    }

    /// A sentence that says the price: English writes the sign first and a decimal point, the others a comma and the sign last.
    pub fn render(&self, language: Language) -> String {
        let Self { sign, units, cents } = self;
        let costs = match language {
            Language::English => return format!("It costs {sign}{units}.{cents:02}."),
            Language::German => "Es kostet",
            Language::French => "Ça coûte",
            Language::Spanish => "Cuesta",
            Language::Portuguese => "Custa",
            Language::Italian => "Costa",
        };
        format!("{costs} {units},{cents:02} {sign}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_alone_writes_the_sign_first_and_a_point() {
        let price = Price {
            sign: '€',
            units: 3,
            cents: 50,
        };
        let expected = [
            "It costs €3.50.",
            "Es kostet 3,50 €.",
            "Ça coûte 3,50 €.",
            "Cuesta 3,50 €.",
            "Custa 3,50 €.",
            "Costa 3,50 €.",
        ];
        assert_eq!(
            Language::ALL.map(|language| price.render(language)),
            expected
        );
    }

    #[test]
    fn cents_have_two_digits() {
        let price = Price {
            sign: '$',
            units: 42,
            cents: 5,
        };
        assert_eq!(price.render(Language::English), "It costs $42.05.");
        assert_eq!(price.render(Language::German), "Es kostet 42,05 $.");
    }
}
