//! The words of the small grammar, a column for each of [`Language::ALL`](super::language::Language::ALL).

use Gender::{Feminine, Masculine, Neuter};
use Kind::{Being, Place, Thing};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gender {
    Masculine,
    Feminine,
    Neuter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    Singular,
    Plural,
}

/// What a sentence may say of a noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Can do something: the subject of a verb. Never its object, for Spanish marks some of those with "a".
    Being,
    /// Can be the object of a verb.
    Thing,
    /// A thing that others can be next to.
    Place,
}

/// A noun in every language.
#[derive(Debug)]
pub struct Noun {
    pub kind: Kind,
    pub in_language: [NounForms; 6],
}

#[derive(Clone, Copy, Debug)]
pub struct NounForms {
    pub gender: Gender,
    pub singular: &'static str,
    pub plural: &'static str,
}

impl NounForms {
    pub fn form(&self, number: Number) -> &'static str {
        match number {
            Number::Singular => self.singular,
            Number::Plural => self.plural,
        }
    }
}

/// An adjective in every language.
#[derive(Debug)]
pub struct Adjective {
    pub english: &'static str,
    /// The stem, to which endings are added.
    pub german: &'static str,
    pub french: AdjectiveForms,
    /// The French masculine singular before a vowel, of an adjective that stands before its noun; the others follow it.
    pub french_before_vowel: Option<&'static str>,
    pub spanish: AdjectiveForms,
    pub portuguese: AdjectiveForms,
    pub italian: AdjectiveForms,
}

/// Masculine and feminine singular, masculine and feminine plural.
#[derive(Debug)]
pub struct AdjectiveForms(pub [&'static str; 4]);

impl AdjectiveForms {
    pub fn form(&self, gender: Gender, number: Number) -> &'static str {
        assert!(gender != Neuter, "{self:?} has no neuter");
        self.0[usize::from(gender == Feminine) + 2 * usize::from(number == Number::Plural)]
    }
}

/// The third person of a verb that takes an object, singular and plural.
#[derive(Debug)]
pub struct Verb {
    pub in_language: [[&'static str; 2]; 6],
}

/// A place relative to a landmark. The languages' prepositions are in the language's grammar, since they govern cases and contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preposition {
    Behind,
    InFrontOf,
    NextTo,
}

pub const PREPOSITIONS: [Preposition; 3] = [
    Preposition::Behind,
    Preposition::InFrontOf,
    Preposition::NextTo,
];

const fn m(singular: &'static str, plural: &'static str) -> NounForms {
    NounForms {
        gender: Masculine,
        singular,
        plural,
    }
}

const fn f(singular: &'static str, plural: &'static str) -> NounForms {
    NounForms {
        gender: Feminine,
        singular,
        plural,
    }
}

const fn n(singular: &'static str, plural: &'static str) -> NounForms {
    NounForms {
        gender: Neuter,
        singular,
        plural,
    }
}

const fn noun(kind: Kind, in_language: [NounForms; 6]) -> Noun {
    Noun { kind, in_language }
}

#[rustfmt::skip]
pub static NOUNS: [Noun; 18] = [
    noun(Place, [n("tower", "towers"), m("Turm", "Türme"), f("tour", "tours"), f("torre", "torres"), f("torre", "torres"), f("torre", "torri")]),
    noun(Place, [n("house", "houses"), n("Haus", "Häuser"), f("maison", "maisons"), f("casa", "casas"), f("casa", "casas"), f("casa", "case")]),
    noun(Place, [n("garden", "gardens"), m("Garten", "Gärten"), m("jardin", "jardins"), m("jardín", "jardines"), m("jardim", "jardins"), m("giardino", "giardini")]),
    noun(Place, [n("bridge", "bridges"), f("Brücke", "Brücken"), m("pont", "ponts"), m("puente", "puentes"), f("ponte", "pontes"), m("ponte", "ponti")]),
    noun(Place, [n("tree", "trees"), m("Baum", "Bäume"), m("arbre", "arbres"), m("árbol", "árboles"), f("árvore", "árvores"), m("albero", "alberi")]),
    noun(Place, [n("river", "rivers"), m("Fluss", "Flüsse"), f("rivière", "rivières"), m("río", "ríos"), m("rio", "rios"), m("fiume", "fiumi")]),
    noun(Place, [n("church", "churches"), f("Kirche", "Kirchen"), f("église", "églises"), f("iglesia", "iglesias"), f("igreja", "igrejas"), f("chiesa", "chiese")]),
    noun(Place, [n("mountain", "mountains"), m("Berg", "Berge"), f("montagne", "montagnes"), f("montaña", "montañas"), f("montanha", "montanhas"), f("montagna", "montagne")]),
    noun(Place, [n("lake", "lakes"), m("See", "Seen"), m("lac", "lacs"), m("lago", "lagos"), m("lago", "lagos"), m("lago", "laghi")]),
    noun(Place, [n("door", "doors"), f("Tür", "Türen"), f("porte", "portes"), f("puerta", "puertas"), f("porta", "portas"), f("porta", "porte")]),
    noun(Place, [n("mirror", "mirrors"), m("Spiegel", "Spiegel"), m("miroir", "miroirs"), m("espejo", "espejos"), m("espelho", "espelhos"), m("specchio", "specchi")]),
    noun(Thing, [n("flower", "flowers"), f("Blume", "Blumen"), f("fleur", "fleurs"), f("flor", "flores"), f("flor", "flores"), m("fiore", "fiori")]),
    noun(Thing, [n("book", "books"), n("Buch", "Bücher"), m("livre", "livres"), m("libro", "libros"), m("livro", "livros"), m("libro", "libri")]),
    noun(Being, [n("cat", "cats"), f("Katze", "Katzen"), m("chat", "chats"), m("gato", "gatos"), m("gato", "gatos"), m("gatto", "gatti")]),
    noun(Being, [n("dog", "dogs"), m("Hund", "Hunde"), m("chien", "chiens"), m("perro", "perros"), m("cão", "cães"), m("cane", "cani")]),
    noun(Being, [n("child", "children"), n("Kind", "Kinder"), m("enfant", "enfants"), m("niño", "niños"), f("criança", "crianças"), m("bambino", "bambini")]),
    noun(Being, [n("woman", "women"), f("Frau", "Frauen"), f("femme", "femmes"), f("mujer", "mujeres"), f("mulher", "mulheres"), f("donna", "donne")]),
    noun(Being, [n("king", "kings"), m("König", "Könige"), m("roi", "rois"), m("rey", "reyes"), m("rei", "reis"), m("re", "re")]),
];

/// The four forms of an adjective whose feminine differs.
const fn forms(
    ms: &'static str,
    fs: &'static str,
    mp: &'static str,
    fp: &'static str,
) -> AdjectiveForms {
    AdjectiveForms([ms, fs, mp, fp])
}

/// The forms of an adjective that has one for both genders.
const fn both(singular: &'static str, plural: &'static str) -> AdjectiveForms {
    AdjectiveForms([singular, singular, plural, plural])
}

#[rustfmt::skip]
pub static ADJECTIVES: [Adjective; 9] = [
    Adjective {
        english: "old", german: "alt", french: forms("vieux", "vieille", "vieux", "vieilles"), french_before_vowel: Some("vieil"),
        spanish: forms("viejo", "vieja", "viejos", "viejas"), portuguese: forms("velho", "velha", "velhos", "velhas"),
        italian: forms("vecchio", "vecchia", "vecchi", "vecchie"),
    },
    Adjective {
        english: "new", german: "neu", french: forms("nouveau", "nouvelle", "nouveaux", "nouvelles"), french_before_vowel: Some("nouvel"),
        spanish: forms("nuevo", "nueva", "nuevos", "nuevas"), portuguese: forms("novo", "nova", "novos", "novas"),
        italian: forms("nuovo", "nuova", "nuovi", "nuove"),
    },
    Adjective {
        english: "big", german: "groß", french: forms("grand", "grande", "grands", "grandes"), french_before_vowel: Some("grand"),
        spanish: both("grande", "grandes"), portuguese: both("grande", "grandes"), italian: both("grande", "grandi"),
    },
    Adjective {
        english: "small", german: "klein", french: forms("petit", "petite", "petits", "petites"), french_before_vowel: Some("petit"),
        spanish: forms("pequeño", "pequeña", "pequeños", "pequeñas"), portuguese: forms("pequeno", "pequena", "pequenos", "pequenas"),
        italian: forms("piccolo", "piccola", "piccoli", "piccole"),
    },
    Adjective {
        english: "white", german: "weiß", french: forms("blanc", "blanche", "blancs", "blanches"), french_before_vowel: None,
        spanish: forms("blanco", "blanca", "blancos", "blancas"), portuguese: forms("branco", "branca", "brancos", "brancas"),
        italian: forms("bianco", "bianca", "bianchi", "bianche"),
    },
    Adjective {
        english: "black", german: "schwarz", french: forms("noir", "noire", "noirs", "noires"), french_before_vowel: None,
        spanish: forms("negro", "negra", "negros", "negras"), portuguese: forms("preto", "preta", "pretos", "pretas"),
        italian: forms("nero", "nera", "neri", "nere"),
    },
    Adjective {
        english: "red", german: "rot", french: both("rouge", "rouges"), french_before_vowel: None,
        spanish: forms("rojo", "roja", "rojos", "rojas"), portuguese: forms("vermelho", "vermelha", "vermelhos", "vermelhas"),
        italian: forms("rosso", "rossa", "rossi", "rosse"),
    },
    Adjective {
        english: "green", german: "grün", french: forms("vert", "verte", "verts", "vertes"), french_before_vowel: None,
        spanish: both("verde", "verdes"), portuguese: both("verde", "verdes"), italian: both("verde", "verdi"),
    },
    Adjective {
        english: "blue", german: "blau", french: forms("bleu", "bleue", "bleus", "bleues"), french_before_vowel: None,
        spanish: both("azul", "azules"), portuguese: both("azul", "azuis"), italian: both("blu", "blu"),
    },
];

#[rustfmt::skip]
pub static VERBS: [Verb; 5] = [
    Verb { in_language: [["sees", "see"], ["sieht", "sehen"], ["voit", "voient"], ["ve", "ven"], ["vê", "veem"], ["vede", "vedono"]] },
    Verb { in_language: [["seeks", "seek"], ["sucht", "suchen"], ["cherche", "cherchent"], ["busca", "buscan"], ["procura", "procuram"], ["cerca", "cercano"]] },
    Verb { in_language: [["finds", "find"], ["findet", "finden"], ["trouve", "trouvent"], ["encuentra", "encuentran"], ["encontra", "encontram"], ["trova", "trovano"]] },
    Verb { in_language: [["paints", "paint"], ["malt", "malen"], ["peint", "peignent"], ["pinta", "pintan"], ["pinta", "pintam"], ["dipinge", "dipingono"]] },
    Verb { in_language: [["loves", "love"], ["liebt", "lieben"], ["aime", "aiment"], ["ama", "aman"], ["ama", "amam"], ["ama", "amano"]] },
];
