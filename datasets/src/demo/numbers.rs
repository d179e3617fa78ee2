//! The whole numbers from 0 to 100 in words.

use super::language::Language;

/// The largest number that can be written in words.
pub const LARGEST: u8 = 100;

/// `number` in words, as it is counted: `einundzwanzig`, `soixante et onze`, `ventuno`.
pub fn in_words(number: u8, language: Language) -> String {
    assert!(number <= LARGEST, "{number} is not below {LARGEST}");
    let words = match language {
        Language::English => &ENGLISH,
        Language::German => &GERMAN,
        Language::French => &FRENCH,
        Language::Spanish => &SPANISH,
        Language::Portuguese => &PORTUGUESE,
        Language::Italian => &ITALIAN,
    };
    if number == LARGEST {
        return words.hundred.to_owned();
    }
    if usize::from(number) < words.first.len() {
        return words.first[usize::from(number)].to_owned();
    }
    let (ten, unit) = (usize::from(number / 10), usize::from(number % 10));
    let tens = words.tens[ten];
    match language {
        Language::French => french(ten, unit),
        _ if unit == 0 => tens.to_owned(),
        Language::English => format!("{tens}-{}", words.first[unit]),
        // The one of "einundzwanzig" has no -s.
        Language::German if unit == 1 => format!("einund{tens}"),
        Language::German => format!("{}und{tens}", words.first[unit]),
        Language::Spanish => format!("{tens} y {}", words.first[unit]),
        Language::Portuguese => format!("{tens} e {}", words.first[unit]),
        // The final vowel falls before "uno" and "otto"; a final "tre" takes an accent.
        Language::Italian => match unit {
            1 | 8 => format!("{}{}", &tens[..tens.len() - 1], words.first[unit]),
            3 => format!("{tens}tré"),
            _ => format!("{tens}{}", words.first[unit]),
        },
    }
}

/// French counts 70 to 79 from sixty and 80 to 99 from "four twenties", whose -s falls before another number.
fn french(ten: usize, unit: usize) -> String {
    let (base, rest) = match ten {
        7 | 9 => (ten - 1, unit + 10),
        _ => (ten, unit),
    };
    let tens = FRENCH.tens[base];
    match (base, rest) {
        (8, 0) => format!("{tens}s"),
        (_, 0) => tens.to_owned(),
        (2..=6, 1 | 11) => format!("{tens} et {}", FRENCH.first[rest]),
        _ => format!("{tens}-{}", FRENCH.first[rest]),
    }
}

/// What has to be known by heart: the first numbers, the tens (by their digit) and a hundred.
struct Words {
    first: &'static [&'static str],
    tens: [&'static str; 10],
    hundred: &'static str,
}

const ENGLISH: Words = Words {
    first: &[
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ],
    tens: [
        "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
    ],
    hundred: "one hundred",
};

const GERMAN: Words = Words {
    first: &[
        "null",
        "eins",
        "zwei",
        "drei",
        "vier",
        "fünf",
        "sechs",
        "sieben",
        "acht",
        "neun",
        "zehn",
        "elf",
        "zwölf",
        "dreizehn",
        "vierzehn",
        "fünfzehn",
        "sechzehn",
        "siebzehn",
        "achtzehn",
        "neunzehn",
    ],
    tens: [
        "", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig",
        "neunzig",
    ],
    hundred: "hundert",
};

const FRENCH: Words = Words {
    first: &[
        "zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix",
        "onze", "douze", "treize", "quatorze", "quinze", "seize", "dix-sept", "dix-huit",
        "dix-neuf",
    ],
    tens: [
        "",
        "",
        "vingt",
        "trente",
        "quarante",
        "cinquante",
        "soixante",
        "",
        "quatre-vingt",
        "",
    ],
    hundred: "cent",
};

const SPANISH: Words = Words {
    first: &[
        "cero",
        "uno",
        "dos",
        "tres",
        "cuatro",
        "cinco",
        "seis",
        "siete",
        "ocho",
        "nueve",
        "diez",
        "once",
        "doce",
        "trece",
        "catorce",
        "quince",
        "dieciséis",
        "diecisiete",
        "dieciocho",
        "diecinueve",
        "veinte",
        "veintiuno",
        "veintidós",
        "veintitrés",
        "veinticuatro",
        "veinticinco",
        "veintiséis",
        "veintisiete",
        "veintiocho",
        "veintinueve",
    ],
    tens: [
        "",
        "",
        "",
        "treinta",
        "cuarenta",
        "cincuenta",
        "sesenta",
        "setenta",
        "ochenta",
        "noventa",
    ],
    hundred: "cien",
};

const PORTUGUESE: Words = Words {
    first: &[
        "zero",
        "um",
        "dois",
        "três",
        "quatro",
        "cinco",
        "seis",
        "sete",
        "oito",
        "nove",
        "dez",
        "onze",
        "doze",
        "treze",
        "catorze",
        "quinze",
        "dezasseis",
        "dezassete",
        "dezoito",
        "dezanove",
    ],
    tens: [
        "",
        "",
        "vinte",
        "trinta",
        "quarenta",
        "cinquenta",
        "sessenta",
        "setenta",
        "oitenta",
        "noventa",
    ],
    hundred: "cem",
};

const ITALIAN: Words = Words {
    first: &[
        "zero",
        "uno",
        "due",
        "tre",
        "quattro",
        "cinque",
        "sei",
        "sette",
        "otto",
        "nove",
        "dieci",
        "undici",
        "dodici",
        "tredici",
        "quattordici",
        "quindici",
        "sedici",
        "diciassette",
        "diciotto",
        "diciannove",
    ],
    tens: [
        "",
        "",
        "venti",
        "trenta",
        "quaranta",
        "cinquanta",
        "sessanta",
        "settanta",
        "ottanta",
        "novanta",
    ],
    hundred: "cento",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(language: Language, expected: &[(u8, &str)]) {
        for (number, words) in expected {
            assert_eq!(in_words(*number, language), *words);
        }
    }

    #[test]
    fn english_puts_a_hyphen_after_the_tens() {
        let words = [
            (0, "zero"),
            (4, "four"),
            (8, "eight"),
            (12, "twelve"),
            (13, "thirteen"),
            (14, "fourteen"),
            (15, "fifteen"),
        ];
        check(Language::English, &words);
        check(
            Language::English,
            &[
                (18, "eighteen"),
                (20, "twenty"),
                (21, "twenty-one"),
                (40, "forty"),
                (44, "forty-four"),
            ],
        );
        check(
            Language::English,
            &[
                (55, "fifty-five"),
                (83, "eighty-three"),
                (99, "ninety-nine"),
                (100, "one hundred"),
            ],
        );
    }

    #[test]
    fn german_says_the_unit_first() {
        let words = [
            (1, "eins"),
            (16, "sechzehn"),
            (17, "siebzehn"),
            (21, "einundzwanzig"),
            (30, "dreißig"),
            (35, "fünfunddreißig"),
        ];
        check(Language::German, &words);
        check(
            Language::German,
            &[
                (61, "einundsechzig"),
                (66, "sechsundsechzig"),
                (77, "siebenundsiebzig"),
                (70, "siebzig"),
            ],
        );
        check(
            Language::German,
            &[
                (12, "zwölf"),
                (20, "zwanzig"),
                (42, "zweiundvierzig"),
                (99, "neunundneunzig"),
                (100, "hundert"),
            ],
        );
    }

    #[test]
    fn french_counts_from_sixty_and_from_four_twenties() {
        let words = [
            (16, "seize"),
            (17, "dix-sept"),
            (21, "vingt et un"),
            (22, "vingt-deux"),
            (31, "trente et un"),
            (61, "soixante et un"),
        ];
        check(Language::French, &words);
        let words = [
            (69, "soixante-neuf"),
            (70, "soixante-dix"),
            (71, "soixante et onze"),
            (72, "soixante-douze"),
            (77, "soixante-dix-sept"),
        ];
        check(Language::French, &words);
        let words = [
            (79, "soixante-dix-neuf"),
            (80, "quatre-vingts"),
            (81, "quatre-vingt-un"),
            (88, "quatre-vingt-huit"),
        ];
        check(Language::French, &words);
        let words = [
            (90, "quatre-vingt-dix"),
            (91, "quatre-vingt-onze"),
            (97, "quatre-vingt-dix-sept"),
            (99, "quatre-vingt-dix-neuf"),
        ];
        check(Language::French, &words);
        check(
            Language::French,
            &[(20, "vingt"), (60, "soixante"), (100, "cent")],
        );
    }

    #[test]
    fn spanish_writes_up_to_twenty_nine_as_one_word() {
        let words = [
            (14, "catorce"),
            (15, "quince"),
            (16, "dieciséis"),
            (20, "veinte"),
            (21, "veintiuno"),
            (22, "veintidós"),
        ];
        check(Language::Spanish, &words);
        let words = [
            (23, "veintitrés"),
            (26, "veintiséis"),
            (28, "veintiocho"),
            (30, "treinta"),
            (31, "treinta y uno"),
        ];
        check(Language::Spanish, &words);
        check(
            Language::Spanish,
            &[
                (57, "cincuenta y siete"),
                (67, "sesenta y siete"),
                (76, "setenta y seis"),
                (100, "cien"),
            ],
        );
    }

    #[test]
    fn portuguese_is_that_of_portugal() {
        let words = [
            (3, "três"),
            (14, "catorze"),
            (16, "dezasseis"),
            (17, "dezassete"),
            (18, "dezoito"),
            (19, "dezanove"),
        ];
        check(Language::Portuguese, &words);
        let words = [
            (21, "vinte e um"),
            (42, "quarenta e dois"),
            (50, "cinquenta"),
            (66, "sessenta e seis"),
            (77, "setenta e sete"),
        ];
        check(Language::Portuguese, &words);
        check(
            Language::Portuguese,
            &[(88, "oitenta e oito"), (99, "noventa e nove"), (100, "cem")],
        );
    }

    #[test]
    fn italian_elides_before_uno_and_otto() {
        let words = [
            (16, "sedici"),
            (17, "diciassette"),
            (19, "diciannove"),
            (21, "ventuno"),
            (23, "ventitré"),
            (28, "ventotto"),
        ];
        check(Language::Italian, &words);
        let words = [
            (31, "trentuno"),
            (33, "trentatré"),
            (38, "trentotto"),
            (40, "quaranta"),
            (48, "quarantotto"),
            (54, "cinquantaquattro"),
        ];
        check(Language::Italian, &words);
        let words = [
            (61, "sessantuno"),
            (66, "sessantasei"),
            (78, "settantotto"),
            (88, "ottantotto"),
            (91, "novantuno"),
            (100, "cento"),
        ];
        check(Language::Italian, &words);
    }

    #[test]
    fn no_two_numbers_of_a_language_share_their_words() {
        for language in Language::ALL {
            let words: std::collections::HashSet<_> = (0..=LARGEST)
                .map(|number| in_words(number, language))
                .collect();
            assert_eq!(words.len(), usize::from(LARGEST) + 1, "{language:?}");
        }
    }
}
