//! In which language a text is, as far as that can be said for certain.
//!
//! The question is never "which language is this?" but "is this certainly not the language that was asked
//! for?". A text counts as off target in two cases:
//!
//! 1. **By script**, where most of its letters belong to scripts that the language is not written in: Latin
//!    letters where Japanese was asked for. Two more signs tell languages of one script apart: kana in a text
//!    that should be Chinese, and a long text without any that should be Japanese.
//! 2. **By trigrams** ([`whatlang`]), where scripts agree, the text has [`MIN_LETTERS`] letters, and the
//!    identifier is sure of another language.
//!
//! All else is on target: short texts, digits and names, related languages that the identifier is not sure
//! of, languages that it does not know. The rate of such texts is therefore a lower bound, and rises when
//! something is wrong. Simplified and traditional Chinese are not told apart, nor are varieties of a language.

use unicode_script::{Script, UnicodeScript};
use whatlang::Lang;

/// Letters from which on trigrams say something about a text.
pub const MIN_LETTERS: usize = 16;

/// Letters from which on a script says something; an ideograph, kana or Hangul syllable counts as three.
const MIN_SCRIPT_LETTERS: usize = 8;

/// Ideographs without any kana from which on a text is no Japanese: titles and names may do without.
const MIN_IDEOGRAPHS_WITHOUT_KANA: usize = 20;

/// The share of kana from which on a text is no Chinese.
const KANA_IN_CHINESE: f64 = 0.2;

/// Whether a text is certainly in another language than `target`, a code such as `de`, `pt-BR` or `zh-Hant`.
/// `None` where nothing is known of that language.
///
/// ```
/// use rewards::language::is_off_target;
/// assert_eq!(is_off_target("The old tower stands by the river.", "ja"), Some(true));
/// assert_eq!(is_off_target("古い塔は川のほとりにある。", "ja"), Some(false));
/// assert_eq!(is_off_target("OK", "ja"), Some(false));
/// assert_eq!(is_off_target("nuqneH", "tlh"), None);
/// ```
pub fn is_off_target(text: &str, target: &str) -> Option<bool> {
    let language = Known::find(target)?;
    let letters = Letters::count(text, language.scripts);
    Some(letters.are_foreign(language) || is_identified_as_another(text, &letters, language))
}

/// What is known of a language: its codes, its scripts, and its name among the identifier's.
struct Known {
    codes: &'static [&'static str],
    scripts: &'static [Script],
    lang: Option<Lang>,
}

impl Known {
    fn find(target: &str) -> Option<&'static Known> {
        let code = target.split(['-', '_']).next().unwrap_or(target);
        LANGUAGES.iter().find(|known| {
            let mut codes = known.codes.iter();
            codes.any(|known| known.eq_ignore_ascii_case(code.trim()))
        })
    }

    fn is(&self, code: &str) -> bool {
        self.codes.contains(&code)
    }
}

/// How many letters of which kind a text has; digits, punctuation and marks are of no script.
#[derive(Default)]
struct Letters {
    num: usize,
    /// The same with syllabic letters weighing more.
    weighed: usize,
    /// Weighed too.
    of_target: usize,
    num_ideographs: usize,
    num_kana: usize,
}

impl Letters {
    fn count(text: &str, scripts: &[Script]) -> Self {
        let mut letters = Letters::default();
        for letter in text.chars().filter(|c| c.is_alphabetic()) {
            let script = letter.script();
            if matches!(script, Script::Common | Script::Inherited | Script::Unknown) {
                continue;
            }
            let is_kana = matches!(script, Script::Hiragana | Script::Katakana);
            let is_ideograph = script == Script::Han;
            let weight = match is_kana || is_ideograph || script == Script::Hangul {
                true => 3,
                false => 1,
            };
            letters.num += 1;
            letters.weighed += weight;
            letters.num_kana += usize::from(is_kana);
            letters.num_ideographs += usize::from(is_ideograph);
            if scripts.contains(&script) {
                letters.of_target += weight;
            }
        }
        letters
    }

    fn are_foreign(&self, language: &Known) -> bool {
        if self.weighed < MIN_SCRIPT_LETTERS {
            return false;
        }
        if language.is("zh") && self.num_kana as f64 >= KANA_IN_CHINESE * self.num as f64 {
            return true;
        }
        if language.is("ja") {
            let all_ideographs = self.num_kana == 0 && 2 * self.num_ideographs > self.num;
            if all_ideographs && self.num_ideographs >= MIN_IDEOGRAPHS_WITHOUT_KANA {
                return true;
            }
        }
        2 * self.of_target < self.weighed
    }
}

fn is_identified_as_another(text: &str, letters: &Letters, language: &Known) -> bool {
    let Some(wanted) = language.lang.filter(|_| letters.num >= MIN_LETTERS) else {
        return false;
    };
    // What the scripts above settle, trigrams need not settle again.
    if matches!(wanted, Lang::Jpn | Lang::Cmn | Lang::Kor) {
        return false;
    }
    whatlang::detect(text).is_some_and(|found| found.is_reliable() && found.lang() != wanted)
}

const LATIN: &[Script] = &[Script::Latin];
const CYRILLIC: &[Script] = &[Script::Cyrillic];
const ARABIC: &[Script] = &[Script::Arabic];
const DEVANAGARI: &[Script] = &[Script::Devanagari];

/// Languages by ISO 639-1 code, and where they have none by 639-3. Those that the identifier does not know
/// are told by their script alone.
const LANGUAGES: &[Known] = &[
    known(&["af"], LATIN, Some(Lang::Afr)),
    known(&["am"], &[Script::Ethiopic], Some(Lang::Amh)),
    known(&["ar"], ARABIC, Some(Lang::Ara)),
    known(&["az"], &[Script::Latin, Script::Cyrillic], Some(Lang::Aze)),
    known(&["be"], CYRILLIC, Some(Lang::Bel)),
    known(&["bg"], CYRILLIC, Some(Lang::Bul)),
    known(&["bn"], &[Script::Bengali], Some(Lang::Ben)),
    known(&["bs"], &[Script::Latin, Script::Cyrillic], None),
    known(&["ca"], LATIN, Some(Lang::Cat)),
    known(&["cs"], LATIN, Some(Lang::Ces)),
    known(&["cy"], LATIN, Some(Lang::Cym)),
    known(&["da"], LATIN, Some(Lang::Dan)),
    known(&["de"], LATIN, Some(Lang::Deu)),
    known(&["el"], &[Script::Greek], Some(Lang::Ell)),
    known(&["en"], LATIN, Some(Lang::Eng)),
    known(&["eo"], LATIN, Some(Lang::Epo)),
    known(&["es"], LATIN, Some(Lang::Spa)),
    known(&["et"], LATIN, Some(Lang::Est)),
    known(&["eu"], LATIN, None),
    known(&["fa"], ARABIC, Some(Lang::Pes)),
    known(&["fi"], LATIN, Some(Lang::Fin)),
    known(&["fil", "tl"], LATIN, Some(Lang::Tgl)),
    known(&["fr"], LATIN, Some(Lang::Fra)),
    known(&["ga"], LATIN, None),
    known(&["gl"], LATIN, None),
    known(&["gu"], &[Script::Gujarati], Some(Lang::Guj)),
    known(&["he", "iw"], &[Script::Hebrew], Some(Lang::Heb)),
    known(&["hi"], DEVANAGARI, Some(Lang::Hin)),
    // Written alike, and told apart by few words.
    known(&["hr"], LATIN, None),
    known(&["hu"], LATIN, Some(Lang::Hun)),
    known(&["hy"], &[Script::Armenian], Some(Lang::Hye)),
    known(&["id"], LATIN, Some(Lang::Ind)),
    known(&["is"], LATIN, None),
    known(&["it"], LATIN, Some(Lang::Ita)),
    known(
        &["ja"],
        &[Script::Han, Script::Hiragana, Script::Katakana],
        Some(Lang::Jpn),
    ),
    known(&["ka"], &[Script::Georgian], Some(Lang::Kat)),
    known(&["kk"], &[Script::Cyrillic, Script::Latin], None),
    known(&["km"], &[Script::Khmer], Some(Lang::Khm)),
    known(&["kn"], &[Script::Kannada], Some(Lang::Kan)),
    known(&["ko"], &[Script::Hangul], Some(Lang::Kor)),
    known(&["lt"], LATIN, Some(Lang::Lit)),
    known(&["lv"], LATIN, Some(Lang::Lav)),
    known(&["mk"], CYRILLIC, Some(Lang::Mkd)),
    known(&["ml"], &[Script::Malayalam], Some(Lang::Mal)),
    known(&["mr"], DEVANAGARI, Some(Lang::Mar)),
    known(&["ms"], LATIN, None),
    known(&["my"], &[Script::Myanmar], Some(Lang::Mya)),
    known(&["nb", "no"], LATIN, Some(Lang::Nob)),
    known(&["ne"], DEVANAGARI, Some(Lang::Nep)),
    known(&["nl"], LATIN, Some(Lang::Nld)),
    known(&["nn"], LATIN, None),
    known(&["or"], &[Script::Oriya], Some(Lang::Ori)),
    known(&["pa"], &[Script::Gurmukhi, Script::Arabic], None),
    known(&["pl"], LATIN, Some(Lang::Pol)),
    known(&["pt"], LATIN, Some(Lang::Por)),
    known(&["ro"], LATIN, Some(Lang::Ron)),
    known(&["ru"], CYRILLIC, Some(Lang::Rus)),
    known(&["si"], &[Script::Sinhala], Some(Lang::Sin)),
    known(&["sk"], LATIN, Some(Lang::Slk)),
    known(&["sl"], LATIN, Some(Lang::Slv)),
    known(&["sq"], LATIN, None),
    known(&["sr"], &[Script::Cyrillic, Script::Latin], None),
    known(&["sv"], LATIN, Some(Lang::Swe)),
    known(&["sw"], LATIN, None),
    known(&["ta"], &[Script::Tamil], Some(Lang::Tam)),
    known(&["te"], &[Script::Telugu], Some(Lang::Tel)),
    known(&["th"], &[Script::Thai], Some(Lang::Tha)),
    known(&["tr"], LATIN, Some(Lang::Tur)),
    known(&["uk"], CYRILLIC, Some(Lang::Ukr)),
    known(&["ur"], ARABIC, Some(Lang::Urd)),
    known(&["uz"], &[Script::Latin, Script::Cyrillic], Some(Lang::Uzb)),
    known(&["vi"], LATIN, Some(Lang::Vie)),
    known(&["zh"], &[Script::Han, Script::Bopomofo], Some(Lang::Cmn)),
    known(&["zu"], LATIN, Some(Lang::Zul)),
];

const fn known(
    codes: &'static [&'static str],
    scripts: &'static [Script],
    lang: Option<Lang>,
) -> Known {
    Known {
        codes,
        scripts,
        lang,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sentence in each of many languages and scripts.
    const SENTENCES: [(&str, &str); 19] = [
        (
            "en",
            "The old stone tower stands by the river and has no roof.",
        ),
        (
            "de",
            "Der alte Turm aus Stein steht am Fluss und hat kein Dach.",
        ),
        (
            "fr",
            "La vieille tour de pierre est au bord de la rivière et n'a pas de toit.",
        ),
        (
            "es",
            "La vieja torre de piedra está junto al río y no tiene techo.",
        ),
        ("pl", "Stara kamienna wieża stoi nad rzeką i nie ma dachu."),
        (
            "tr",
            "Eski taş kule nehrin kenarında duruyor ve çatısı yok.",
        ),
        ("vi", "Ngọn tháp đá cổ đứng bên bờ sông và không có mái."),
        (
            "ru",
            "Старая каменная башня стоит у реки, и у неё нет крыши.",
        ),
        (
            "uk",
            "Стара кам'яна вежа стоїть біля річки, і в неї немає даху.",
        ),
        ("el", "Ο παλιός πέτρινος πύργος στέκεται δίπλα στο ποτάμι."),
        ("he", "המגדל הישן עומד ליד הנהר ואין לו גג."),
        ("ar", "يقف البرج الحجري القديم بجانب النهر وليس له سقف."),
        (
            "hi",
            "पुराना पत्थर का बुर्ज नदी के किनारे खड़ा है और उसकी छत नहीं है।",
        ),
        ("bn", "পুরানো পাথরের মিনারটি নদীর ধারে দাঁড়িয়ে আছে।"),
        ("ta", "பழைய கல் கோபுரம் ஆற்றங்கரையில் நிற்கிறது."),
        ("th", "หอคอยหินเก่าตั้งอยู่ริมแม่น้ำและไม่มีหลังคา"),
        ("ko", "오래된 돌탑이 강가에 서 있고 지붕이 없다."),
        ("ja", "古い石の塔は川のほとりに立っていて、屋根がない。"),
        ("zh", "古老的石塔矗立在河边，没有屋顶，也没有窗户和门。"),
    ];

    #[test]
    fn a_sentence_is_on_target_in_its_own_language_and_off_target_in_every_other() {
        for (language, text) in SENTENCES {
            for (target, _) in SENTENCES {
                let is_off = is_off_target(text, target).expect("the language is known");
                assert_eq!(is_off, language != target, "{text} as {target}");
            }
        }
    }

    #[test]
    fn what_is_too_short_to_tell_is_on_target() {
        for text in ["", "42", "OK", "7:30", "塔", "§ 3.1", "🙂", "Tower"] {
            for target in ["de", "ja", "ru", "ar"] {
                assert_eq!(is_off_target(text, target), Some(false), "{text} {target}");
            }
        }
        // Eight Latin letters are enough where another script was asked for, and no evidence between
        // languages that share theirs.
        assert_eq!(is_off_target("the tower", "ja"), Some(true));
        assert_eq!(is_off_target("the tower", "de"), Some(false));
        // Three ideographs weigh as nine letters.
        assert_eq!(is_off_target("石头塔", "en"), Some(true));
    }

    #[test]
    fn foreign_names_in_a_text_do_not_make_it_foreign() {
        let japanese = "OpenAI と Google は新しいモデルを発表した。";
        assert_eq!(is_off_target(japanese, "ja"), Some(false));
        let russian = "Он купил iPhone и MacBook в новом магазине.";
        assert_eq!(is_off_target(russian, "ru"), Some(false));
    }

    #[test]
    fn kana_tells_japanese_from_chinese() {
        // A headline may have no kana; a sentence of twenty ideographs is no Japanese.
        assert_eq!(is_off_target("東京都知事選挙", "ja"), Some(false));
        let chinese = "委员会将于五月三日再次开会讨论新的预算方案和计划";
        assert_eq!(is_off_target(chinese, "ja"), Some(true));
        assert_eq!(is_off_target(chinese, "zh-Hant"), Some(false));
        assert_eq!(is_off_target("東京に行きます", "zh"), Some(true));
    }

    #[test]
    fn varieties_are_their_language_and_an_unknown_language_says_nothing() {
        let text = "A velha torre de pedra fica ao lado do rio e não tem telhado.";
        for (target, want) in [
            ("pt", Some(false)),
            ("pt-BR", Some(false)),
            ("PT_br", Some(false)),
            ("de-AT", Some(true)),
            ("tlh", None),
            ("", None),
        ] {
            assert_eq!(is_off_target(text, target), want, "{target}");
        }
        // Known by its script alone.
        assert_eq!(is_off_target(text, "is"), Some(false));
        assert_eq!(
            is_off_target("Старая башня стоит у реки.", "is"),
            Some(true)
        );
    }

    #[test]
    fn no_code_is_given_twice() {
        let mut codes: Vec<&str> = LANGUAGES.iter().flat_map(|l| l.codes).copied().collect();
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }
}
