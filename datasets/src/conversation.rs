//! Conversations as token ids, and which of those ids the model is to learn.

mod turns;

use std::ops::Range;
use std::path::Path;

use self::turns::{Rendering, TurnShape};
use crate::chat_template::{ChatTemplate, GenerationPrompt};
use crate::error::DataError;
use crate::record::{Message, PreferencePair};
use crate::tokenizer::{DocumentStart, TokenSpan, Tokenizer};

/// A tokenizer with its chat template.
///
/// The ids of a conversation are those of its whole rendered text, tokenized once and without adding special tokens, so
/// that nothing is doubled and training sees what generation will see. Supervised are each assistant turn's content and
/// its end-of-turn token; what the template puts after that is not.
#[derive(Debug)]
pub struct ChatTokenizer {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    shape: TurnShape,
}

/// A sequence and which of its tokens are to be learnt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SupervisedTokens {
    /// The token ids.
    pub ids: Vec<u32>,
    /// Whether each one is supervised, as a token to be predicted. Same length as `ids`.
    pub loss_mask: Vec<bool>,
}

/// Which assistant turns of a conversation are supervised, among those not marked `"train": false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AssistantTurns {
    /// Every one.
    #[default]
    All,
    /// The last one.
    Last,
}

impl ChatTokenizer {
    /// Loads tokenizer and template of a model folder.
    pub fn from_dir(dir: &Path, document_start: DocumentStart) -> Result<Self, DataError> {
        Self::new(
            Tokenizer::from_dir(dir, document_start)?,
            ChatTemplate::from_dir(dir)?,
        )
    }

    /// Puts a tokenizer and a template together.
    pub fn new(tokenizer: Tokenizer, template: ChatTemplate) -> Result<Self, DataError> {
        let shape = TurnShape::of(&tokenizer, &template)?;
        Ok(Self {
            tokenizer,
            template,
            shape,
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// The ids of a conversation, with or without what makes the assistant speak.
    pub fn encode_chat(
        &self,
        messages: &[Message],
        prompt: GenerationPrompt,
    ) -> Result<Vec<u32>, DataError> {
        self.tokenizer
            .encode(&self.template.render(messages, prompt)?)
    }

    /// The token that closes an assistant turn under this template; `None` where it closes turns with plain text.
    pub fn end_of_turn_id(&self) -> Option<u32> {
        self.shape.end.as_ref().map(|end| end.id)
    }

    /// The tokens at which generation ends: the end of a turn, where there is one, and the `eos_token`.
    pub fn stop_ids(&self) -> Vec<u32> {
        let eos = self.tokenizer.eos_id();
        let mut ids = vec![eos];
        ids.extend(self.end_of_turn_id().filter(|&id| id != eos));
        ids
    }

    /// A conversation to train on.
    ///
    /// Fails where no turn is supervised, and where the template rewrites a turn so that its tokens cannot be found.
    pub fn supervise(
        &self,
        messages: &[Message],
        turns: AssistantTurns,
    ) -> Result<SupervisedTokens, DataError> {
        let supervised = turns.of(messages);
        if supervised.is_empty() {
            return Err(DataError::Supervision {
                problem: "the conversation has no assistant turn to learn from".into(),
                hint: "add an answer of role `assistant`, or leave the record out".into(),
            });
        }
        let text = self.template.render(messages, GenerationPrompt::Omit)?;
        let rendering = Rendering {
            template: &self.template,
            shape: &self.shape,
            messages,
            text: &text,
        };
        let spans = rendering.spans(&supervised)?;
        let tokens = self.tokenizer.encode_spans(&text)?;
        Ok(SupervisedTokens {
            loss_mask: tokens
                .iter()
                .map(|token| spans.iter().any(|span| is_part_of(token, span)))
                .collect(),
            ids: tokens.into_iter().map(|token| token.id).collect(),
        })
    }

    /// Both sides of a preference pair: the prompt's turns are never supervised, every assistant turn after them is.
    pub fn supervise_pair(
        &self,
        pair: &PreferencePair,
    ) -> Result<(SupervisedTokens, SupervisedTokens), DataError> {
        let side = |answer: &[Message]| self.supervise_answer(&pair.prompt, answer);
        Ok((side(&pair.chosen)?, side(&pair.rejected)?))
    }

    /// A prompt with one answer, supervised as a side of a pair is.
    pub fn supervise_answer(
        &self,
        prompt: &[Message],
        answer: &[Message],
    ) -> Result<SupervisedTokens, DataError> {
        let mut messages = prompt.to_vec();
        for message in &mut messages {
            message.train = Some(false);
        }
        messages.extend_from_slice(answer);
        self.supervise(&messages, AssistantTurns::All)
    }
}

impl SupervisedTokens {
    /// Running text: every token but the first is predicted.
    pub fn document(ids: Vec<u32>) -> Self {
        let mut loss_mask = vec![true; ids.len()];
        if let Some(first) = loss_mask.first_mut() {
            *first = false;
        }
        Self { ids, loss_mask }
    }

    /// How many tokens are learnt. The first token of a sequence never is: nothing predicts it.
    pub fn num_supervised(&self) -> usize {
        self.loss_mask
            .iter()
            .skip(1)
            .filter(|&&supervised| supervised)
            .count()
    }
}

impl AssistantTurns {
    /// The indices of the supervised messages.
    fn of(self, messages: &[Message]) -> Vec<usize> {
        let mut turns: Vec<usize> = (0..messages.len())
            .filter(|&i| messages[i].is_supervised())
            .collect();
        if self == Self::Last {
            turns.drain(..turns.len().saturating_sub(1));
        }
        turns
    }
}

/// A token that spans the border, as when a line end before the content merges with one inside it, holds a part of the
/// content and counts to it.
fn is_part_of(token: &TokenSpan, span: &Range<usize>) -> bool {
    let Range { start, end } = token.bytes;
    if start == end {
        span.contains(&start)
    } else {
        start < span.end && span.start < end
    }
}

#[cfg(test)]
mod tests;
