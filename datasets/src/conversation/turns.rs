//! Where in the rendered text each assistant turn stands.
//!
//! A template is a program, so the place of a turn is proven, never guessed: by the template's own `{% generation %}`
//! blocks, else by what the text has in common with the prompt that asks for the turn, or with a rendering in which the
//! turn says something else.

use std::ops::Range;

use crate::chat_template::{ChatTemplate, GenerationPrompt};
use crate::error::DataError;
use crate::record::Message;
use crate::tokenizer::Tokenizer;

/// A conversation and `text`, what the template makes of it without a generation prompt.
pub(super) struct Rendering<'a> {
    pub(super) template: &'a ChatTemplate,
    pub(super) shape: &'a TurnShape,
    pub(super) messages: &'a [Message],
    pub(super) text: &'a str,
}

/// What a template does around every assistant turn, seen in renderings of a short conversation.
#[derive(Debug, Clone)]
pub(super) struct TurnShape {
    /// What closes a turn; `None` where no token of its own does.
    pub(super) end: Option<EndOfTurn>,
    /// Whether a generation prompt opens a turn. Some templates ignore `add_generation_prompt`.
    opened_by_prompt: bool,
}

/// The text from the end of the content through the token that closes the turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndOfTurn {
    text: String,
    pub(super) id: u32,
}

/// A content that no text contains: Unicode reserves it for use inside a program.
const PROBE: &str = "\u{fdd2}";

impl Rendering<'_> {
    /// The bytes to be learnt of each of these messages: its content and its end of turn.
    pub(super) fn spans(&self, turns: &[usize]) -> Result<Vec<Range<usize>>, DataError> {
        if let Some(blocks) = self.template.generation_spans(self.messages, self.text)? {
            let speakers = (0..self.messages.len()).filter(|&i| self.messages[i].is_assistant());
            let speakers: Vec<usize> = speakers.collect();
            // Blocks that do not go with the turns one to one say nothing about a single turn.
            if blocks.len() == speakers.len() {
                let of_turns = speakers
                    .into_iter()
                    .zip(blocks)
                    .filter(|(turn, _)| turns.contains(turn));
                return Ok(of_turns
                    .map(|(turn, block)| self.block_span(turn, block))
                    .collect());
            }
        }
        turns
            .iter()
            .map(|&turn| self.content_span(turn).ok_or_else(|| lost(turn)))
            .collect()
    }

    /// The turn inside its block. Authors draw blocks around the content alone, or from the line end of the turn's
    /// header to the one after its last token.
    fn block_span(&self, turn: usize, block: Range<usize>) -> Range<usize> {
        let prompt_end = self.prompt_end(turn).filter(|end| block.contains(end));
        let start = prompt_end.unwrap_or(block.start);
        let Some(closing) = self.shape.end.as_ref().map(|end| end.text.as_str()) else {
            return start..block.end;
        };
        let inside = self.text[start..block.end].trim_end();
        if inside.ends_with(closing.trim()) {
            return start..start + inside.len();
        }
        let after = self.text[block.end..]
            .trim_start()
            .strip_prefix(closing.trim());
        start..after.map_or(block.end, |after| self.text.len() - after.len())
    }

    /// The turn by comparison: its content with what the template makes the assistant say before it (empty thoughts,
    /// say), and its end.
    fn content_span(&self, turn: usize) -> Option<Range<usize>> {
        let prompt_end = self.prompt_end(turn);
        if let (Some(start), Some(closing)) = (prompt_end, &self.shape.end) {
            // The plain case, without a second rendering: the content, trimmed or not, and the end of turn.
            let content = self.messages[turn].content.as_str();
            for content in [content, content.trim()] {
                let after = self.text[start..].strip_prefix(content);
                if after.is_some_and(|after| after.starts_with(&closing.text)) {
                    return Some(start..start + content.len() + closing.text.len());
                }
            }
        }
        // The same conversation in which this turn says something unmistakable: text before and after it stays.
        let mut probed = self.messages.to_vec();
        probed[turn].content = PROBE.to_owned();
        let probed = self.template.render(&probed, GenerationPrompt::Omit).ok()?;
        let (before, after) = probed
            .split_once(PROBE)
            .filter(|(_, after)| !after.contains(PROBE))?;
        let content_start = self.text.starts_with(before).then_some(before.len());
        let start = match self.shape.opened_by_prompt {
            true => prompt_end.or(content_start)?,
            false => content_start.or(prompt_end)?,
        };
        let end = self.text.strip_suffix(after)?.len();
        let closing = self
            .shape
            .end
            .as_ref()
            .filter(|closing| after.starts_with(&closing.text));
        (start <= end).then(|| start..end + closing.map_or(0, |closing| closing.text.len()))
    }

    /// Where the prompt ends that the model continues when it is asked for this turn.
    fn prompt_end(&self, turn: usize) -> Option<usize> {
        let prompt = self
            .template
            .render(&self.messages[..turn], GenerationPrompt::Add)
            .ok()?;
        self.text.starts_with(&prompt).then_some(prompt.len())
    }
}

impl TurnShape {
    /// Tries the template out. Where it refuses even "Hello", nothing is known; it will tell why when it is used.
    pub(super) fn of(tokenizer: &Tokenizer, template: &ChatTemplate) -> Result<Self, DataError> {
        let question = [Message::user("Hello")];
        let render = |prompt| template.render(&question, prompt).ok();
        let opened_by_prompt = render(GenerationPrompt::Add) != render(GenerationPrompt::Omit);
        let answered = [Message::user("Hello"), Message::assistant(PROBE)];
        let text = template
            .render(&answered, GenerationPrompt::Omit)
            .unwrap_or_default();
        let after = text.split_once(PROBE).map_or("", |(_, after)| after);
        let tokens = tokenizer.encode_spans(after)?;
        let closing = tokens
            .into_iter()
            .find(|token| tokenizer.is_added(token.id));
        let end = closing.map(|token| EndOfTurn {
            text: after[..token.bytes.end].to_owned(),
            id: token.id,
        });
        Ok(Self {
            end,
            opened_by_prompt,
        })
    }
}

fn lost(turn: usize) -> DataError {
    let problem = "the chat template rewrites it, so its tokens cannot be told from the rest";
    DataError::Supervision {
        problem: format!("assistant turn at `messages[{turn}]`: {problem}"),
        hint: "supervise the last turn alone, mark this one \"train\": false, or add {% generation %} blocks to \
               chat_template.jinja"
            .into(),
    }
}
