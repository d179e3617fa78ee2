//! Questions whose right answer is known: what the model writes for them, greedily, and how close
//! that comes to the right answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use datasets::language::Language;
use datasets::prompt_template::PromptTemplate;
use datasets::{
    ChatTokenizer, DataError, DocumentEnd, GenerationPrompt, Message, Tokenizer, Translation,
    TranslationPair,
};
use model::CausalLm;
use model::generate::{GenerateOptions, Request, SamplingOptions, generate};
use rewards::guards::{Guarded, Guards};
use rewards::metrics::{self, Bleu, Chrf};
use telemetry::Fields;
use telemetry::event::EvaluationRow;

use crate::TrainError;
use crate::preflight::spread;
use crate::stage::{Evaluation, EvaluationSample};

/// Sequences decoded at a time.
const MAX_BATCH_SIZE: usize = 64;

/// The row of a table that answers in conversations count to.
const CONVERSATIONS: &str = "conversations";

/// Something to answer:
/// `{ids: [2, 106, …], prompt: "Translate … tower", reference: "Turm", group: "en-de"}`.
#[derive(Clone, Debug)]
pub struct Question {
    /// The tokens before the answer.
    pub ids: Arc<[u32]>,
    /// What is asked, as a person reads it.
    pub prompt: String,
    /// The right answer.
    pub reference: String,
    /// The row of a table it counts to: the language pair, or `conversations`.
    pub group: String,
    /// The text to translate, where there is one.
    pub source: Option<String>,
    /// The code of the language to answer in, where it is known.
    pub target_lang: Option<String>,
    /// How BLEU cuts the answer's language into words.
    bleu: metrics::Tokenizer,
}

/// Which of the held-out records are asked, and how they are answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Asking {
    /// Records that are asked.
    pub count: usize,
    /// Tokens that a question with the first of its answer may have.
    pub max_length: usize,
    /// Tokens after which an answer is cut.
    pub max_new_tokens: usize,
    /// Tokens that end an answer.
    pub stop_tokens: Vec<u32>,
}

/// Some questions, and how they are answered.
pub struct Questions {
    /// The questions.
    pub questions: Vec<Question>,
    /// Further ones that were left out for their length.
    pub too_long: usize,
    /// Tokens after which an answer is cut.
    pub max_new_tokens: usize,
    /// Tokens that end an answer.
    pub stop_tokens: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
}

/// The answers to some questions, and what they are worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// Corpus chrF and BLEU, 0 to 100, and the guards, by language pair.
    pub rows: Vec<EvaluationRow>,
    /// The means of the rows' scores, each row weighing the same, and the guards over all answers.
    pub metrics: Fields,
    /// The texts.
    pub samples: Vec<EvaluationSample>,
}

impl Question {
    /// The last turn of a conversation as the answer to those before; `None` where it is not the
    /// assistant's, or nothing stands before it.
    ///
    /// # Errors
    /// The chat template fails.
    pub fn of_conversation(
        messages: &[Message],
        translation: Option<&Translation>,
        tokenizer: &ChatTokenizer,
    ) -> Result<Option<Self>, DataError> {
        if !Self::is_conversation(messages) {
            return Ok(None);
        }
        let (answer, asked) = messages.split_last().expect("there are two turns");
        let last = asked.last().expect("there are two turns");
        let ids = tokenizer.encode_chat(asked, GenerationPrompt::Add)?;
        let target_lang = translation.map(|translation| &*translation.target_lang);
        let group = translation.and_then(|translation| {
            let from = translation.source_lang.as_ref()?;
            Some(format!("{from}-{}", translation.target_lang))
        });
        Ok(Some(Question {
            ids: ids.into(),
            prompt: last.content.clone(),
            reference: answer.content.clone(),
            group: group.unwrap_or_else(|| CONVERSATIONS.to_owned()),
            source: translation.and_then(|translation| translation.source.clone()),
            target_lang: target_lang.map(language_code),
            bleu: target_lang.map_or(metrics::Tokenizer::V13a, bleu_tokenizer),
        }))
    }

    /// Whether the last turn of a conversation is an answer to those before.
    pub fn is_conversation(messages: &[Message]) -> bool {
        messages.len() > 1 && messages.last().is_some_and(Message::is_supervised)
    }

    /// A pair as a request of the user's and its answer.
    ///
    /// # Errors
    /// The chat template fails.
    pub fn of_pair(
        pair: &TranslationPair,
        wording: PromptTemplate,
        tokenizer: &ChatTokenizer,
    ) -> Result<Self, DataError> {
        let request = wording.request(&pair.source, &pair.source_lang, &pair.target_lang);
        let messages = [Message::user(&*request)];
        let ids = tokenizer.encode_chat(&messages, GenerationPrompt::Add)?;
        Ok(Self::translation(pair, request, ids))
    }

    /// A pair as a document that breaks off before the translation, for models without a chat
    /// template.
    ///
    /// # Errors
    /// The text cannot be tokenized.
    pub fn of_document(
        pair: &TranslationPair,
        wording: PromptTemplate,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let text = wording.document(pair).text;
        // In training the space before the translation is a part of its first word's token.
        let asked = text.strip_suffix(&pair.target).unwrap_or(&text);
        let asked = asked.trim_end_matches(' ').to_owned();
        let ids = tokenizer.document(&asked, DocumentEnd::Open)?;
        Ok(Self::translation(pair, asked, ids))
    }

    /// An answer with what the guards hold it against.
    fn guard<'a>(&'a self, completion: &'a str) -> Guarded<'a> {
        Guarded {
            completion,
            source: self.source.as_deref(),
            reference: Some(&self.reference),
            target_lang: self.target_lang.as_deref(),
        }
    }

    fn translation(pair: &TranslationPair, prompt: String, ids: Vec<u32>) -> Self {
        Question {
            ids: ids.into(),
            prompt,
            reference: pair.target.clone(),
            group: format!("{}-{}", pair.source_lang, pair.target_lang),
            source: Some(pair.source.clone()),
            target_lang: Some(language_code(&pair.target_lang)),
            bleu: bleu_tokenizer(&pair.target_lang),
        }
    }
}

impl Questions {
    /// Questions spread evenly over the records that are one, all of them where there are fewer;
    /// answered greedily. Only those that are asked are made into tokens. As in training, a question
    /// that leaves no room for an answer within `max_length` is left out, and counted.
    ///
    /// # Errors
    /// As the closures; no record is a question, or none of the chosen ones fits.
    pub fn spread(
        asking: Asking,
        num_records: usize,
        is_question: impl Fn(usize) -> Result<bool, TrainError>,
        question: impl Fn(usize) -> Result<Option<Question>, TrainError>,
    ) -> Result<Self, TrainError> {
        let (count, max_length) = (asking.count, asking.max_length);
        let mut records = Vec::new();
        for record in 0..num_records {
            if is_question(record)? {
                records.push(record);
            }
        }
        if records.is_empty() {
            return Err(TrainError::Usage(format!(
                "eval_generate = {count}, but no record of eval_data has an answer to compare \
                 with\nhint: give translation pairs, or conversations that end with the \
                 assistant's turn, or set eval_generate = 0"
            )));
        }
        let mut questions = Vec::new();
        for place in spread(records.len(), count) {
            questions.extend(question(records[place])?);
        }
        let num_chosen = questions.len();
        questions.retain(|question| question.ids.len() < max_length);
        if questions.is_empty() {
            return Err(TrainError::Usage(format!(
                "eval_generate = {count}: each of the {num_chosen} questions fills max_length = \
                 {max_length} alone\nhint: raise max_length, or shorten the records of eval_data"
            )));
        }
        Ok(Questions {
            too_long: num_chosen - questions.len(),
            questions,
            max_new_tokens: asking.max_new_tokens,
            stop_tokens: asking.stop_tokens,
            sampling: SamplingOptions::GREEDY,
        })
    }

    /// The sentence that is true of questions that were left out.
    pub fn warning(&self, max_length: usize) -> Option<String> {
        let (left_out, asked) = (self.too_long, self.questions.len());
        (left_out > 0).then(|| {
            format!(
                "{left_out} of {} questions of eval_generate were left out: they leave no room for \
                 an answer within max_length = {max_length}",
                left_out + asked
            )
        })
    }

    /// Has the model answer. `None` where the user stopped it.
    ///
    /// # Errors
    /// An answer cannot be decoded.
    pub fn answer(
        &self,
        model: &CausalLm,
        tokenizer: &Tokenizer,
        num_samples: usize,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Answers>, TrainError> {
        let requests: Vec<Request> = self
            .questions
            .iter()
            .flat_map(|question| {
                (0..num_samples).map(|index| Request {
                    prompt: question.ids.clone(),
                    index: index as u64,
                    max_new_tokens: self.max_new_tokens,
                })
            })
            .collect();
        let options = GenerateOptions {
            sampling: self.sampling,
            stop_tokens: self.stop_tokens.clone(),
            max_batch_size: MAX_BATCH_SIZE,
        };
        let Some(completions) = generate(model, &requests, &options, should_stop) else {
            return Ok(None);
        };
        let asked = self.questions.iter();
        let asked = asked.flat_map(|question| std::iter::repeat_n(question, num_samples));
        let answered = asked
            .zip(completions)
            .map(|(question, completion)| {
                let text = tokenizer.decode(&completion.tokens)?;
                // A document's answer begins with the space that its question left out.
                Ok((question, text.trim().to_owned()))
            })
            .collect::<Result<Vec<_>, TrainError>>()?;
        Ok(Some(Answers::judge(&answered)))
    }
}

impl Answers {
    fn judge(answered: &[(&Question, String)]) -> Self {
        let mut by_group: BTreeMap<&str, Vec<&(&Question, String)>> = BTreeMap::new();
        for answer in answered {
            by_group.entry(&answer.0.group).or_default().push(answer);
        }
        let rows: Vec<EvaluationRow> = by_group
            .into_iter()
            .map(|(group, answers)| {
                let (hypotheses, references): (Vec<&str>, Vec<Vec<&str>>) = answers
                    .iter()
                    .map(|(question, text)| (text.as_str(), vec![question.reference.as_str()]))
                    .unzip();
                let bleu = Bleu::corpus(answers[0].0.bleu);
                let chrf = Chrf::CHRF.corpus_score(&hypotheses, &references);
                let bleu = bleu.corpus_score(&hypotheses, &references).score;
                let guards =
                    Guards::of(answers.iter().map(|(question, text)| question.guard(text)));
                let mut metrics = Fields::new().with("chrf", chrf).with("bleu", bleu);
                metrics.extend(guards.values());
                EvaluationRow {
                    group: group.to_owned(),
                    count: answers.len() as u64,
                    metrics,
                }
            })
            .collect();
        let mean = |name: &str| {
            let values = rows.iter().filter_map(|row| row.metrics.scalar(name));
            values.sum::<f64>() / rows.len() as f64
        };
        let mut metrics = Fields::new()
            .with("chrf", mean("chrf"))
            .with("bleu", mean("bleu"));
        let guards = Guards::of(answered.iter().map(|(question, text)| question.guard(text)));
        metrics.extend(guards.values());
        Answers {
            metrics,
            rows,
            samples: answered
                .iter()
                .map(|(question, text)| EvaluationSample {
                    group: question.group.clone(),
                    prompt: question.prompt.clone(),
                    completion: text.clone(),
                    reference: Some(question.reference.clone()),
                    reward: None,
                })
                .collect(),
        }
    }

    /// Puts the answers beside what else an evaluation measured.
    pub fn add_to(self, evaluation: &mut Evaluation) {
        for (name, value) in self.metrics.iter() {
            evaluation.metrics.set(name, value.clone());
        }
        evaluation.rows.extend(self.rows);
        evaluation.samples.extend(self.samples);
    }
}

/// The code of a language given by code or name; what is not known stands for itself.
pub fn language_code(tag: &str) -> String {
    Language::find(tag)
        .map_or(tag, |language| language.code)
        .to_owned()
}

/// sacreBLEU's advice, as far as its tokenizers need no dictionary.
fn bleu_tokenizer(target_lang: &str) -> metrics::Tokenizer {
    let code = Language::find(target_lang).map_or("", |language| language.code);
    match code.split('-').next() {
        Some("zh") => metrics::Tokenizer::Zh,
        Some("ja") => metrics::Tokenizer::Char,
        _ => metrics::Tokenizer::V13a,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(group: &str, reference: &str) -> Question {
        Question {
            ids: vec![1].into(),
            prompt: "?".to_owned(),
            reference: reference.to_owned(),
            group: group.to_owned(),
            source: None,
            target_lang: None,
            bleu: metrics::Tokenizer::V13a,
        }
    }

    #[test]
    fn the_mean_weighs_each_language_pair_the_same() {
        let right = question("en-de", "der alte Turm am See");
        let wrong = question("en-fr", "xyz");
        let answered = [
            (&right, right.reference.clone()),
            (&right, right.reference.clone()),
            (&wrong, "abc".to_owned()),
        ];
        let answers = Answers::judge(&answered);
        let row = |index: usize| {
            let row = &answers.rows[index];
            let chrf = row.metrics.scalar("chrf").expect("it has one");
            (row.group.as_str(), row.count, chrf)
        };
        assert_eq!((row(0), row(1)), (("en-de", 2, 100.0), ("en-fr", 1, 0.0)));
        assert_eq!(answers.metrics.scalar("chrf"), Some(50.0));
    }

    #[test]
    fn guards_are_measured_by_language_pair_and_over_all_answers() {
        let source = "The old stone tower stands by the river.";
        let asked = |group: &str, target_lang: &str, reference: &str| Question {
            source: Some(source.to_owned()),
            target_lang: Some(target_lang.to_owned()),
            ..question(group, reference)
        };
        let german = asked(
            "en-de",
            "de",
            "Der alte Turm steht am Fluss und ist aus Stein.",
        );
        let japanese = asked("en-ja", "ja", "古い石の塔は川のほとりに立っている。");
        let answered = [
            (&german, german.reference.clone()),
            (&german, source.to_owned()),
            (&japanese, japanese.reference.clone()),
            (&japanese, String::new()),
        ];
        let answers = Answers::judge(&answered);
        let of = |fields: &Fields| {
            let names = ["off_target_rate", "copy_rate", "empty_rate"];
            names.map(|name| fields.scalar(name).expect("it was measured"))
        };
        assert_eq!(of(&answers.rows[0].metrics), [0.5, 0.5, 0.0]);
        assert_eq!(of(&answers.rows[1].metrics), [0.0, 0.0, 0.5]);
        assert_eq!(of(&answers.metrics), [0.25, 0.25, 0.25]);
    }

    fn asking(count: usize, max_length: usize) -> Asking {
        Asking {
            count,
            max_length,
            max_new_tokens: 8,
            stop_tokens: Vec::new(),
        }
    }

    #[test]
    fn questions_are_spread_over_the_records_that_are_one() {
        // Of ten records, the even ones ask something.
        let is_question = |record: usize| Ok(record.is_multiple_of(2));
        let made = std::cell::Cell::new(0);
        let ask = |record: usize| {
            made.set(made.get() + 1);
            Ok(Some(question("g", &record.to_string())))
        };
        let chosen = |count| {
            let questions = Questions::spread(asking(count, 4), 10, is_question, ask);
            let questions = questions.expect("there are some").questions.into_iter();
            questions.map(|q| q.reference).collect::<Vec<_>>()
        };
        assert_eq!(chosen(2), ["0", "4"]);
        assert_eq!(
            made.get(),
            2,
            "only those that are asked are made into tokens"
        );
        assert_eq!(chosen(9), ["0", "2", "4", "6", "8"]);
        let none = Questions::spread(asking(2, 4), 10, |_| Ok(false), ask);
        assert!(matches!(none, Err(TrainError::Usage(_))));
    }

    #[test]
    fn a_question_without_room_for_an_answer_is_left_out_and_counted() {
        // Record i has i tokens.
        let ask = |record: usize| {
            Ok(Some(Question {
                ids: vec![1; record].into(),
                ..question("g", &record.to_string())
            }))
        };
        let spread = |max_length| Questions::spread(asking(6, max_length), 6, |_| Ok(true), ask);
        let questions = spread(4).expect("some fit");
        let asked: Vec<usize> = questions.questions.iter().map(|q| q.ids.len()).collect();
        assert_eq!((asked, questions.too_long), (vec![0, 1, 2, 3], 2));
        let warning = questions.warning(4).expect("two are left out");
        assert!(warning.contains("2 of 6 questions"), "{warning}");
        assert_eq!(spread(6).expect("all fit").warning(6), None);
        let ask_long = |record: usize| ask(record + 9);
        let none = Questions::spread(asking(6, 4), 6, |_| Ok(true), ask_long);
        let error = none.err().expect("none fits").to_string();
        assert!(
            error.contains("max_length = 4") && error.contains("hint: "),
            "{error}"
        );
    }
}
