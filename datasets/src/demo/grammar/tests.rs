//! Hand-checked phrases and sentences, one line a language in the order of `Language::ALL`.

use super::*;

fn noun(english: &str) -> &'static Noun {
    NOUNS
        .iter()
        .find(|noun| noun.in_language[0].singular == english)
        .unwrap()
}

fn adjective(english: &str) -> &'static Adjective {
    ADJECTIVES
        .iter()
        .find(|adjective| adjective.english == english)
        .unwrap()
}

fn one(words: &str) -> NounPhrase {
    phrase(words, Number::Singular)
}

fn many(words: &str) -> NounPhrase {
    phrase(words, Number::Plural)
}

fn phrase(words: &str, number: Number) -> NounPhrase {
    match words.split_once(' ') {
        Some((first, second)) => NounPhrase {
            noun: noun(second),
            adjective: Some(adjective(first)),
            number,
        },
        None => NounPhrase {
            noun: noun(words),
            adjective: None,
            number,
        },
    }
}

fn verb(english: &str) -> &'static Verb {
    VERBS
        .iter()
        .find(|verb| verb.in_language[0][0] == english)
        .unwrap()
}

#[track_caller]
fn check_phrase(phrase: NounPhrase, expected: [&str; 6]) {
    assert_eq!(
        Language::ALL.map(|language| phrase.render(language)),
        expected
    );
}

#[track_caller]
fn check(sentence: Sentence, expected: [&str; 6]) {
    assert_eq!(
        Language::ALL.map(|language| sentence.render(language)),
        expected
    );
}

#[test]
fn adjectives_agree_with_their_noun() {
    let expected = [
        "the old tower",
        "der alte Turm",
        "la vieille tour",
        "la torre vieja",
        "a torre velha",
        "la torre vecchia",
    ];
    check_phrase(one("old tower"), expected);
    let expected = [
        "the new bridges",
        "die neuen Brücken",
        "les nouveaux ponts",
        "los puentes nuevos",
        "as pontes novas",
        "i ponti nuovi",
    ];
    check_phrase(many("new bridge"), expected);
    let expected = [
        "the white house",
        "das weiße Haus",
        "la maison blanche",
        "la casa blanca",
        "a casa branca",
        "la casa bianca",
    ];
    check_phrase(one("white house"), expected);
    let expected = [
        "the black cats",
        "die schwarzen Katzen",
        "les chats noirs",
        "los gatos negros",
        "os gatos pretos",
        "i gatti neri",
    ];
    check_phrase(many("black cat"), expected);
    let expected = [
        "the red flowers",
        "die roten Blumen",
        "les fleurs rouges",
        "las flores rojas",
        "as flores vermelhas",
        "i fiori rossi",
    ];
    check_phrase(many("red flower"), expected);
    let expected = [
        "the small child",
        "das kleine Kind",
        "le petit enfant",
        "el niño pequeño",
        "a criança pequena",
        "il bambino piccolo",
    ];
    check_phrase(one("small child"), expected);
    let expected = [
        "the big women",
        "die großen Frauen",
        "les grandes femmes",
        "las mujeres grandes",
        "as mulheres grandes",
        "le donne grandi",
    ];
    check_phrase(many("big woman"), expected);
    let expected = [
        "the blue doors",
        "die blauen Türen",
        "les portes bleues",
        "las puertas azules",
        "as portas azuis",
        "le porte blu",
    ];
    check_phrase(many("blue door"), expected);
    let expected = [
        "the green lake",
        "der grüne See",
        "le lac vert",
        "el lago verde",
        "o lago verde",
        "il lago verde",
    ];
    check_phrase(one("green lake"), expected);
}

#[test]
fn words_change_before_a_vowel() {
    let expected = [
        "the old tree",
        "der alte Baum",
        "le vieil arbre",
        "el árbol viejo",
        "a árvore velha",
        "l'albero vecchio",
    ];
    check_phrase(one("old tree"), expected);
    let expected = [
        "the old trees",
        "die alten Bäume",
        "les vieux arbres",
        "los árboles viejos",
        "as árvores velhas",
        "gli alberi vecchi",
    ];
    check_phrase(many("old tree"), expected);
    let expected = [
        "the red tree",
        "der rote Baum",
        "l'arbre rouge",
        "el árbol rojo",
        "a árvore vermelha",
        "l'albero rosso",
    ];
    check_phrase(one("red tree"), expected);
    let expected = [
        "the white church",
        "die weiße Kirche",
        "l'église blanche",
        "la iglesia blanca",
        "a igreja branca",
        "la chiesa bianca",
    ];
    check_phrase(one("white church"), expected);
    let expected = [
        "the new church",
        "die neue Kirche",
        "la nouvelle église",
        "la iglesia nueva",
        "a igreja nova",
        "la chiesa nuova",
    ];
    check_phrase(one("new church"), expected);
    assert_eq!(one("new tree").render(Language::French), "le nouvel arbre");
}

#[test]
fn italian_has_lo_before_s_and_a_consonant() {
    let expected = [
        "the green mirror",
        "der grüne Spiegel",
        "le miroir vert",
        "el espejo verde",
        "o espelho verde",
        "lo specchio verde",
    ];
    check_phrase(one("green mirror"), expected);
    assert_eq!(
        many("white mirror").render(Language::Italian),
        "gli specchi bianchi"
    );
    let next_to = Sentence::IsAt {
        subject: one("king"),
        place: Preposition::NextTo,
        landmark: noun("mirror"),
    };
    assert_eq!(
        next_to.render(Language::Italian),
        "Il re è accanto allo specchio."
    );
}

#[test]
fn predicates_agree_but_in_english_and_german() {
    let old = Sentence::Is {
        subject: many("king"),
        adjective: adjective("old"),
    };
    let expected = [
        "The kings are old.",
        "Die Könige sind alt.",
        "Les rois sont vieux.",
        "Los reyes son viejos.",
        "Os reis são velhos.",
        "I re sono vecchi.",
    ];
    check(old, expected);
    let white = Sentence::Is {
        subject: one("flower"),
        adjective: adjective("white"),
    };
    let expected = [
        "The flower is white.",
        "Die Blume ist weiß.",
        "La fleur est blanche.",
        "La flor es blanca.",
        "A flor é branca.",
        "Il fiore è bianco.",
    ];
    check(white, expected);
    let new = Sentence::Is {
        subject: one("tree"),
        adjective: adjective("new"),
    };
    let expected = [
        "The tree is new.",
        "Der Baum ist neu.",
        "L'arbre est nouveau.",
        "El árbol es nuevo.",
        "A árvore é nova.",
        "L'albero è nuovo.",
    ];
    check(new, expected);
}

#[test]
fn prepositions_govern_cases_and_contract() {
    let behind = Sentence::IsAt {
        subject: one("tower"),
        place: Preposition::Behind,
        landmark: noun("river"),
    };
    check(
        behind,
        [
            "The tower is behind the river.",
            "Der Turm ist hinter dem Fluss.",
            "La tour est derrière la rivière.",
            "La torre está detrás del río.",
            "A torre está atrás do rio.",
            "La torre è dietro il fiume.",
        ],
    );
    let in_front = Sentence::IsAt {
        subject: many("dog"),
        place: Preposition::InFrontOf,
        landmark: noun("church"),
    };
    check(
        in_front,
        [
            "The dogs are in front of the church.",
            "Die Hunde sind vor der Kirche.",
            "Les chiens sont devant l'église.",
            "Los perros están delante de la iglesia.",
            "Os cães estão à frente da igreja.",
            "I cani sono davanti alla chiesa.",
        ],
    );
    let next_to = Sentence::IsAt {
        subject: one("woman"),
        place: Preposition::NextTo,
        landmark: noun("tree"),
    };
    check(
        next_to,
        [
            "The woman is next to the tree.",
            "Die Frau ist neben dem Baum.",
            "La femme est à côté de l'arbre.",
            "La mujer está al lado del árbol.",
            "A mulher está ao lado da árvore.",
            "La donna è accanto all'albero.",
        ],
    );
    let next_to = Sentence::IsAt {
        subject: one("book"),
        place: Preposition::NextTo,
        landmark: noun("bridge"),
    };
    check(
        next_to,
        [
            "The book is next to the bridge.",
            "Das Buch ist neben der Brücke.",
            "Le livre est à côté du pont.",
            "El libro está al lado del puente.",
            "O livro está ao lado da ponte.",
            "Il libro è accanto al ponte.",
        ],
    );
}

#[test]
fn objects_are_in_the_accusative_and_verbs_agree() {
    let sees = Sentence::Does {
        subject: one("cat"),
        verb: verb("sees"),
        object: one("old tower"),
    };
    check(
        sees,
        [
            "The cat sees the old tower.",
            "Die Katze sieht den alten Turm.",
            "Le chat voit la vieille tour.",
            "El gato ve la torre vieja.",
            "O gato vê a torre velha.",
            "Il gatto vede la torre vecchia.",
        ],
    );
    let paint = Sentence::Does {
        subject: many("child"),
        verb: verb("paints"),
        object: many("small book"),
    };
    check(
        paint,
        [
            "The children paint the small books.",
            "Die Kinder malen die kleinen Bücher.",
            "Les enfants peignent les petits livres.",
            "Los niños pintan los libros pequeños.",
            "As crianças pintam os livros pequenos.",
            "I bambini dipingono i libri piccoli.",
        ],
    );
    let seeks = Sentence::Does {
        subject: one("king"),
        verb: verb("seeks"),
        object: one("white house"),
    };
    check(
        seeks,
        [
            "The king seeks the white house.",
            "Der König sucht das weiße Haus.",
            "Le roi cherche la maison blanche.",
            "El rey busca la casa blanca.",
            "O rei procura a casa branca.",
            "Il re cerca la casa bianca.",
        ],
    );
    let find = Sentence::Does {
        subject: many("woman"),
        verb: verb("finds"),
        object: one("door"),
    };
    check(
        find,
        [
            "The women find the door.",
            "Die Frauen finden die Tür.",
            "Les femmes trouvent la porte.",
            "Las mujeres encuentran la puerta.",
            "As mulheres encontram a porta.",
            "Le donne trovano la porta.",
        ],
    );
}

#[test]
fn every_noun_takes_every_adjective_in_both_numbers() {
    for language in Language::ALL {
        let mut seen = std::collections::HashSet::new();
        for noun in &NOUNS {
            for adjective in &ADJECTIVES {
                for number in [Number::Singular, Number::Plural] {
                    let phrase = NounPhrase {
                        noun,
                        adjective: Some(adjective),
                        number,
                    };
                    assert!(
                        seen.insert(phrase.render(language)),
                        "{phrase:?} in {language:?} is written like another"
                    );
                }
            }
        }
    }
}
