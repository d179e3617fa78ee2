use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datasets::{
    ChatTokenizer, DocumentStart, GenerationPrompt, JsonlSource, Location, OnBadRecord,
    SkippedRecords, VerifiablePrompt,
};
use rewards::{RewardError, Verifier};
use serde_json::Value;

use super::RewardFunctions;
use crate::TrainError;
use crate::answers::language_code;
use crate::sources::Sources;

/// Prompts whose answers can be checked, as tokens.
pub struct Prompts {
    source: JsonlSource<VerifiablePrompt>,
    tokenizer: Arc<ChatTokenizer>,
    max_prompt_length: usize,
    /// Indices of the records that fit.
    usable: Vec<usize>,
    /// Names of the records' verifiers.
    verifiers: BTreeSet<String>,
    /// Indices of the records left out, at the recipe's wish, because nothing judges their answers.
    unjudged: BTreeSet<usize>,
    functions: RewardFunctions,
}

/// One prompt.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The turns before the answer, rendered by the chat template.
    pub ids: Arc<[u32]>,
    /// The last turn, as a person reads it.
    pub text: String,
    /// What judges the answer: the record's own, then the recipe's.
    pub verifiers: Vec<Verifier>,
    /// How many of them are the record's own.
    pub num_own: usize,
    /// What the verifiers were made from, for functions of the user's own.
    pub args: Value,
    /// The text to translate, where there is one.
    pub source: Option<String>,
    /// The right answer, where the record says it.
    pub reference: Option<String>,
    /// The code of the language to answer in, where the record says it.
    pub target_lang: Option<String>,
    /// The row of a table it counts to.
    pub group: String,
}

impl Prompts {
    /// Opens data files and checks every record: what judges it, its length.
    ///
    /// # Errors
    /// A bad line, an unknown verifier or wrong arguments; or no prompt fits `max_prompt_length`.
    pub fn open(
        paths: &[PathBuf],
        on_bad_record: OnBadRecord,
        tokenizer: Arc<ChatTokenizer>,
        max_prompt_length: usize,
        functions: RewardFunctions,
    ) -> Result<Self, TrainError> {
        let mut prompts = Prompts {
            source: JsonlSource::open(paths, on_bad_record)?,
            tokenizer,
            max_prompt_length,
            usable: Vec::new(),
            verifiers: BTreeSet::new(),
            unjudged: BTreeSet::new(),
            functions,
        };
        for index in 0..prompts.source.len() {
            let prompt = match prompts.read(index) {
                Err(TrainError::Reward {
                    source: RewardError::NothingJudges,
                    ..
                }) if on_bad_record == OnBadRecord::Skip => {
                    prompts.unjudged.insert(index);
                    continue;
                }
                prompt => prompt?,
            };
            if prompt.ids.len() <= max_prompt_length {
                prompts.usable.push(index);
                let own = prompt.verifiers.iter().map(|v| v.name().to_owned());
                let own = own.take(prompt.num_own);
                prompts.verifiers.extend(own);
            }
        }
        if prompts.usable.is_empty() && prompts.num_too_long() == 0 {
            return Err(TrainError::NothingToTrain(format!(
                "nothing judges the answers to any of {} prompts\nhint: give the lines a \
                 `verifier`, or the recipe reward_funcs",
                prompts.source.len()
            )));
        }
        if prompts.usable.is_empty() {
            return Err(TrainError::NothingToTrain(format!(
                "all {} prompts are longer than max_prompt_length = {max_prompt_length}\nhint: \
                 raise max_prompt_length",
                prompts.source.len()
            )));
        }
        Ok(prompts)
    }

    /// How a prompt's document begins, by the model's family.
    pub fn tokenizer(
        model_dir: &Path,
        document_start: DocumentStart,
    ) -> Result<Arc<ChatTokenizer>, TrainError> {
        Ok(Arc::new(ChatTokenizer::from_dir(
            model_dir,
            document_start,
        )?))
    }

    /// Prompts that fit.
    pub fn len(&self) -> usize {
        self.usable.len()
    }

    /// Whether there is none; opening refuses that.
    pub fn is_empty(&self) -> bool {
        self.usable.is_empty()
    }

    /// Names of the verifiers by which the records' answers are judged.
    pub fn verifiers(&self) -> &BTreeSet<String> {
        &self.verifiers
    }

    /// Records left out for their length.
    pub fn num_too_long(&self) -> usize {
        self.source.len() - self.usable.len() - self.unjudged.len()
    }

    /// One of those that fit.
    pub fn get(&self, index: usize) -> Result<Prompt, TrainError> {
        self.read(self.usable[index])
    }

    /// Where one of those that fit stands.
    pub fn location(&self, index: usize) -> Location {
        self.source.location(self.usable[index])
    }

    /// The files, with what is left out of them rejected.
    pub fn sources(&self) -> Sources {
        let mut sources = Sources::new(self.source.parts());
        let mut usable = self.usable.iter().peekable();
        for index in 0..self.source.len() {
            if usable.next_if_eq(&&index).is_none() {
                let why = match self.unjudged.contains(&index) {
                    true => "nothing judges the answer",
                    false => "longer than max_prompt_length",
                };
                sources.reject(self.source.part_of(index), why);
            }
        }
        sources
    }

    /// Which of the files one of those that fit is of.
    pub fn part_of(&self, index: usize) -> usize {
        self.source.part_of(self.usable[index])
    }

    /// Bad lines left out at the recipe's wish.
    pub fn skipped(&self) -> &SkippedRecords {
        self.source.skipped()
    }

    /// What makes tokens of them.
    pub fn chat(&self) -> &ChatTokenizer {
        &self.tokenizer
    }

    /// The longest prompt that is taken.
    pub fn max_prompt_length(&self) -> usize {
        self.max_prompt_length
    }

    fn read(&self, index: usize) -> Result<Prompt, TrainError> {
        let record = self.source.get(index)?;
        let location = self.source.location(index);
        let at = |source| TrainError::Reward {
            place: location.to_string(),
            source,
        };
        let own = record
            .verifiers
            .iter()
            .map(|call| (&*call.name, &call.args));
        let mut verifiers = Verifier::parse_all(own).map_err(at)?;
        let num_own = verifiers.len();
        for verifier in &verifiers {
            let reference = record.reference.as_deref();
            verifier.check_reference(reference).map_err(at)?;
        }
        let names: Vec<&str> = record.verifiers.iter().map(|call| &*call.name).collect();
        let others = self.functions.beside(&names, &record.args);
        let others = others.map_err(|source| TrainError::Reward {
            place: format!("{location}: reward_funcs"),
            source,
        })?;
        if num_own == 0 {
            let reference = record.reference.as_deref();
            let mut found = Err(RewardError::NothingJudges);
            for verifier in &others {
                found = found.or_else(|_| verifier.check_reference(reference));
            }
            found.map_err(at)?;
        }
        verifiers.extend(others);
        let ids = self
            .tokenizer
            .encode_chat(&record.messages, GenerationPrompt::Add)
            .map_err(|error| error.at(self.source.location(index)))?;
        let args = match record.verifiers.first() {
            Some(call) => Some(call.args.clone()),
            None => Some(record.args.into()),
        };
        let ground_truth = args
            .as_ref()
            .and_then(|args| args.get("ground_truth"))
            .and_then(Value::as_str);
        Ok(Prompt {
            ids: ids.into(),
            text: record
                .messages
                .last()
                .map(|message| message.content.clone())
                .unwrap_or_default(),
            reference: record.reference.or_else(|| ground_truth.map(str::to_owned)),
            verifiers,
            num_own,
            args: args.unwrap_or(Value::Null),
            source: record.source,
            target_lang: record.target_lang.as_deref().map(language_code),
            group: record.group.unwrap_or_else(|| "all".to_owned()),
        })
    }
}
