//! Documents for continued pretraining.

use super::content::{Content, Kind};
use super::language::Language;
use super::mix::{CONTENTS, FORMS, Form, direction};
use super::random::Random;
use super::task::{Split, Task};
use serde_json::{Value, json};

/// A document of training contents, in the proportions of [`FORMS`].
pub fn document(random: &mut Random) -> Value {
    match random.weighted(&FORMS) {
        Form::Pair => pair(random),
        Form::Glossary => glossary(random),
        Form::Monolingual => monolingual(random),
        Form::Instruction => {
            let task = Task::random(Split::Train, random);
            json!({"text": format!("{}\n{}", task.prompt, task.answer)})
        }
    }
}

fn pair(random: &mut Random) -> Value {
    let (from, to) = direction(random);
    let content = content(random, &[from, to]);
    json!({
        "source": content.render(from),
        "target": content.render(to),
        "source_lang": from.code(),
        "target_lang": to.code(),
    })
}

/// `English: the old tower`, `German: der alte Turm`, … for three to six languages.
fn glossary(random: &mut Random) -> Value {
    let count = random.between(3, Language::ALL.len());
    let languages = random.sample(&Language::ALL, count);
    let content = content(random, &languages);
    let lines: Vec<_> = languages
        .iter()
        .map(|language| format!("{}: {}", language.name(), content.render(*language)))
        .collect();
    json!({"text": lines.join("\n")})
}

/// Three sentences, or other contents, in one language.
fn monolingual(random: &mut Random) -> Value {
    let language = random.pick(&Language::ALL);
    let texts: Vec<_> = (0..3)
        .map(|_| content(random, &[language]).render(language))
        .collect();
    json!({"text": texts.join("\n")})
}

/// A content that may be shown in these languages together.
fn content(random: &mut Random, languages: &[Language]) -> Content {
    let kind: Kind = random.weighted(&CONTENTS);
    loop {
        let content = Content::random(kind, random);
        if !content.is_held_out(languages) {
            return content;
        }
    }
}
