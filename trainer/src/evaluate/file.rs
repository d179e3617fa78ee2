use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use datasets::prompt_template::PROMPT_TEMPLATES;
use datasets::{
    ChatTokenizer, DocumentStart, JsonlSource, OnBadRecord, Tokenizer, TranslationPair,
};
use model::CausalLm;
use model::generate::SamplingOptions;
use rewards::{Rubric, guards};
use telemetry::Fields;
use telemetry::event::EvaluationRow;

use super::held_out::first_record;
use super::{Answering, FileScores, HeldOut, SuiteFile};
use crate::TrainError;
use crate::answers::{Question, Questions};
use crate::rollout::{Group, Prompts, RewardFunctions, Rollout, Sampler, evaluation};

/// Sequences decoded at a time.
const MAX_BATCH_SIZE: usize = 64;

/// What a file holds, as its first record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Running text.
    Documents,
    /// Conversations with an assistant turn.
    Conversations,
    /// Texts with their translation.
    Pairs,
    /// Prompts with a verifier.
    Prompts,
}

/// A model to be measured.
pub struct Evaluator<'a> {
    /// The model.
    pub model: &'a CausalLm,
    /// Its folder.
    pub dir: &'a Path,
    /// How its documents begin.
    pub document_start: DocumentStart,
}

impl FileKind {
    /// What a file holds.
    ///
    /// # Errors
    /// It cannot be read, or holds what nothing can be measured on.
    pub fn of(path: &Path) -> Result<Self, TrainError> {
        let record = first_record(path)?.unwrap_or_default();
        let has = |name: &str| record.get(name).is_some();
        if has("chosen") && has("rejected") {
            return Err(TrainError::Usage(format!(
                "{}: preferences have no score of their own\nhint: evaluate takes documents, \
                 conversations, translation pairs and prompts with a verifier",
                path.display()
            )));
        }
        Ok(match record {
            _ if has("verifier") => FileKind::Prompts,
            _ if has("source") && has("target") => FileKind::Pairs,
            _ if has("text") => FileKind::Documents,
            // What is wrong with a line, whoever reads it will say.
            _ => FileKind::Conversations,
        })
    }

    /// The plural of its records.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Documents => "documents",
            FileKind::Conversations => "conversations",
            FileKind::Pairs => "pairs",
            FileKind::Prompts => "prompts",
        }
    }

    /// The skill of a file of which nobody said it.
    fn skill(self) -> &'static str {
        match self {
            FileKind::Pairs => "translation",
            other => other.name(),
        }
    }
}

impl Evaluator<'_> {
    /// Measures the model on a file.
    ///
    /// # Errors
    /// A record is broken, or the model lacks what it needs, such as a chat template.
    pub fn measure(&self, file: &SuiteFile) -> Result<FileScores, TrainError> {
        let kind = FileKind::of(&file.path)?;
        let (count, metrics, rows) = match kind {
            FileKind::Documents | FileKind::Conversations => self.loss(&file.path)?,
            FileKind::Pairs => self.translation(&file.path, file.answering)?,
            FileKind::Prompts => self.rewards(&file.path, file.answering)?,
        };
        Ok(FileScores {
            file: file.path.display().to_string(),
            skill: file
                .skill
                .clone()
                .unwrap_or_else(|| kind.skill().to_owned()),
            kind,
            count: count as u64,
            metrics,
            rows,
        })
    }

    fn loss(&self, path: &Path) -> Result<Measured, TrainError> {
        let held_out = HeldOut::read(path, self.dir, self.document_start)?;
        let loss = held_out.loss(self.model);
        let metrics = Fields::new()
            .with("loss", loss)
            .with("perplexity", loss.exp());
        Ok((held_out.len(), metrics, Vec::new()))
    }

    /// Under the chat template, with Tower+'s own wording; a model without a template continues a
    /// document that breaks off before the translation.
    fn translation(&self, path: &Path, answering: Answering) -> Result<Measured, TrainError> {
        let pairs: JsonlSource<TranslationPair> =
            JsonlSource::open(&[path.to_owned()], OnBadRecord::Error)?;
        let tokenizer = Tokenizer::from_dir(self.dir, self.document_start)?;
        let chat = ChatTokenizer::from_dir(self.dir, self.document_start).ok();
        let wording = PROMPT_TEMPLATES[0];
        let question = |pair: &TranslationPair| match &chat {
            Some(chat) => Question::of_pair(pair, wording, chat),
            None => Question::of_document(pair, wording, &tokenizer),
        };
        let questions = pairs
            .iter()
            .map(|pair| Ok(question(&pair?)?))
            .collect::<Result<Vec<_>, TrainError>>()?;
        let questions = Questions {
            questions,
            too_long: 0,
            max_new_tokens: answering.max_new_tokens,
            stop_tokens: match &chat {
                Some(chat) => chat.stop_ids(),
                None => vec![tokenizer.eos_id()],
            },
            sampling: sampling(answering),
        };
        let answers = questions.answer(self.model, &tokenizer, answering.samples, &|| false)?;
        let answers = answers.expect("nobody stops it");
        Ok((pairs.len(), answers.metrics, answers.rows))
    }

    fn rewards(&self, path: &Path, answering: Answering) -> Result<Measured, TrainError> {
        let tokenizer = ChatTokenizer::from_dir(self.dir, self.document_start)?;
        let tokenizer = Arc::new(tokenizer);
        let paths = [path.to_owned()];
        let prompts = Prompts::open(
            &paths,
            OnBadRecord::Error,
            tokenizer.clone(),
            usize::MAX,
            RewardFunctions::default(),
        )?;
        let sampler = Sampler {
            tokenizer,
            rubric: Rubric::default(),
            watch: None,
            max_completion_length: answering.max_new_tokens,
            max_batch_size: MAX_BATCH_SIZE,
        };
        let all = (0..prompts.len())
            .map(|index| prompts.get(index))
            .collect::<Result<Vec<_>, _>>()?;
        let (count, samples) = (all.len(), answering.samples);
        let groups = sampler.sample(self.model, all, samples, sampling(answering), &|| false)?;
        let groups = groups.expect("nobody stops it");
        let measured = evaluation(&groups);
        let metrics = reward_metrics(&measured.metrics, share_right(groups.iter()));
        let mut by_task: BTreeMap<&str, Vec<&Group>> = BTreeMap::new();
        for group in &groups {
            by_task.entry(&group.prompt.group).or_default().push(group);
        }
        let mut rows = measured.rows;
        for row in &mut rows {
            let groups = by_task[row.group.as_str()].iter().copied();
            row.metrics = reward_metrics(&row.metrics, share_right(groups));
        }
        Ok((count, metrics, rows))
    }
}

/// Records, metrics over all of them, and by task or language pair.
type Measured = (usize, Fields, Vec<EvaluationRow>);

fn sampling(answering: Answering) -> SamplingOptions {
    SamplingOptions {
        temperature: answering.temperature,
        seed: answering.seed,
        ..SamplingOptions::GREEDY
    }
}

/// The reward, the share that is right, the guards, and the reward's parts under TRL's names: the reward
/// chrf is a share, and chrF itself counts points of 100.
fn reward_metrics(measured: &Fields, right: f64) -> Fields {
    const TOTAL: &str = "reward";
    let mut metrics = Fields::new()
        .with(TOTAL, measured.scalar(TOTAL).unwrap_or(f64::NAN))
        .with("right", right);
    for (name, value) in measured.scalars().filter(|(name, _)| *name != TOTAL) {
        match guards::NAMES.contains(&name) {
            true => metrics.set(name, value),
            false => metrics.set(format!("rewards/{name}"), value),
        }
    }
    metrics
}

/// The share of answers that earn everything: each verifier that applies gives 1.
fn share_right<'a>(groups: impl Iterator<Item = &'a Group>) -> f64 {
    // A metric of a perfect answer is 1 to rounding.
    const ALL: f64 = 1.0 - 1e-9;
    let is_right = |rollout: &&Rollout| {
        let mut scores = rollout.reward.parts.iter().filter_map(|part| part.score);
        let first = scores.next();
        first.is_some_and(|first| first >= ALL) && scores.all(|score| score >= ALL)
    };
    let rollouts: Vec<&Rollout> = groups.flat_map(|group| &group.rollouts).collect();
    rollouts.iter().copied().filter(|r| is_right(r)).count() as f64 / rollouts.len() as f64
}
