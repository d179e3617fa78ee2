//! Hugging Face's `{% generation %}` block, which marks what the assistant says.
//!
//! minijinja has no custom tags, so the block becomes a filter block inside a scope of its own (what is set inside does
//! not leak out, as in `transformers`). The filter puts a mark before and after the text where the spans are wanted.

use std::ops::Range;

use minijinja::value::Value;
use minijinja::{State, context};

/// Name of the filter that a block goes through.
pub(super) const FILTER: &str = "__generation__";

/// Unicode reserves these for use inside a program; they stand for nothing in any text.
const START: char = '\u{fdd0}';
const END: char = '\u{fdd1}';

/// Whether blocks put marks around their text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    On,
    Off,
}

impl Marks {
    pub(super) fn variables(self) -> Value {
        context! { __marks__ => self == Marks::On }
    }
}

/// Rewrites `{%- generation -%} … {% endgeneration %}` and says whether there was any.
pub(super) fn as_filter_blocks(source: &str) -> (String, bool) {
    let mut rest = source;
    let mut rewritten = String::with_capacity(source.len());
    let mut found = false;
    while let Some(start) = rest.find("{%") {
        rewritten.push_str(&rest[..start]);
        rest = &rest[start..];
        match tag(rest) {
            Some((left, "generation", right, length)) => {
                found = true;
                rewritten.push_str(&format!("{{%{left} with %}}{{% filter {FILTER} {right}%}}"));
                rest = &rest[length..];
            }
            Some((left, "endgeneration", right, length)) => {
                rewritten.push_str(&format!("{{%{left} endfilter %}}{{% endwith {right}%}}"));
                rest = &rest[length..];
            }
            _ => {
                rewritten.push_str("{%");
                rest = &rest[2..];
            }
        }
    }
    rewritten.push_str(rest);
    (rewritten, found)
}

/// Takes `{%- word -%}` apart: the sign on the left, the word, the sign on the right, the bytes of it all.
fn tag(text: &str) -> Option<(&str, &str, &str, usize)> {
    let inner = &text[2..text.find("%}")?];
    let sign = |c: char| c == '-' || c == '+';
    let left = if inner.starts_with(sign) {
        &inner[..1]
    } else {
        ""
    };
    let right = if inner.len() > left.len() && inner.ends_with(sign) {
        &inner[inner.len() - 1..]
    } else {
        ""
    };
    let word = inner[left.len()..inner.len() - right.len()].trim();
    Some((left, word, right, inner.len() + 4))
}

/// What the block's text goes through: it stays as it is, between marks where they are on.
pub(super) fn mark(state: &State, text: String) -> String {
    match state.lookup("__marks__") {
        Some(marks) if marks.is_true() => format!("{START}{text}{END}"),
        _ => text,
    }
}

/// The bytes of `plain` that were marked, or `None` where the marks changed more than themselves.
pub(super) fn spans(marked: &str, plain: &str) -> Option<Vec<Range<usize>>> {
    let mut text = String::with_capacity(plain.len());
    let mut spans = Vec::new();
    let mut start = None;
    for c in marked.chars() {
        match c {
            START if start.is_none() => start = Some(text.len()),
            END => spans.push(start.take()?..text.len()),
            c => text.push(c),
        }
    }
    (start.is_none() && text == plain).then_some(spans)
}

#[cfg(test)]
mod tests {
    use crate::chat_template::{ChatTemplate, GenerationPrompt};
    use crate::record::Message;

    const CHATML: &str = "{%- for m in messages -%}\n{{ '<' + m.role + '>' }}\n{%- if m.role == 'assistant' -%}\n\
                          {%- generation -%}\n{{ m.content + '</>' }}\n{%-endgeneration%}\n\
                          {%- else %}{{ m.content + '</>' }}{% endif %}{{ '\n' }}{% endfor %}";

    fn messages() -> [Message; 4] {
        [
            Message::user("é?"),
            Message::assistant("ja"),
            Message::user("b"),
            Message::assistant("塔!"),
        ]
    }

    #[test]
    fn the_blocks_spans_are_found_and_leave_no_trace_in_the_text() {
        let template = ChatTemplate::new(CHATML, &Default::default()).unwrap();
        let text = template
            .render(&messages(), GenerationPrompt::Omit)
            .unwrap();
        assert_eq!(
            text,
            "<user>é?</>\n<assistant>ja</>\n<user>b</>\n<assistant>塔!</>\n"
        );
        let spans = template
            .generation_spans(&messages(), &text)
            .unwrap()
            .unwrap();
        let inside: Vec<&str> = spans.into_iter().map(|span| &text[span]).collect();
        assert_eq!(inside, ["ja</>", "塔!</>"]);
    }

    #[test]
    fn a_block_reads_and_sets_namespaces_but_its_variables_do_not_leak() {
        let source = "{% set ns = namespace(n=1) %}{% set x = 'out' %}{% generation %}{% set ns.n = ns.n + 1 %}\
                      {% set x = 'in' %}{{ x }}{% endgeneration %} {{ x }} {{ ns.n }}";
        let template = ChatTemplate::new(source, &Default::default()).unwrap();
        let text = template
            .render(&messages(), GenerationPrompt::Omit)
            .unwrap();
        assert_eq!(text, "in out 2");
        let spans = template
            .generation_spans(&messages(), &text)
            .unwrap()
            .unwrap();
        assert_eq!((spans.len(), &text[spans[0].clone()]), (1, "in"));
    }

    #[test]
    fn a_template_without_the_block_has_no_spans() {
        let template = ChatTemplate::new("{{ messages[0].content }}", &Default::default()).unwrap();
        assert_eq!(template.generation_spans(&messages(), "é?").unwrap(), None);
    }

    #[test]
    fn marks_that_would_change_the_text_or_stand_in_it_are_given_up() {
        let captured = "{% set x %}{% generation %} {{ messages[0].content }} {% endgeneration %}{% endset %}{{ x | trim }}";
        let template = ChatTemplate::new(captured, &Default::default()).unwrap();
        assert_eq!(
            template
                .render(&messages(), GenerationPrompt::Omit)
                .unwrap(),
            "é?"
        );
        assert_eq!(template.generation_spans(&messages(), "é?").unwrap(), None);
        let template = ChatTemplate::new(CHATML, &Default::default()).unwrap();
        let marked = [Message::assistant("a\u{fdd1}b")];
        let text = template.render(&marked, GenerationPrompt::Omit).unwrap();
        assert_eq!(template.generation_spans(&marked, &text).unwrap(), None);
    }
}
