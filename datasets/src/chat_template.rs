//! A checkpoint's chat template: Jinja, as Hugging Face extends it.
//!
//! `transformers` renders with Jinja2, `trim_blocks`, `lstrip_blocks`, loop controls and a `{% generation %}` block
//! (`transformers/utils/chat_template_utils.py`); what minijinja does otherwise is brought in line in the files below.
//! Not imitated: `%` on strings, and filters and methods that no released template is known to use, all of which are
//! errors; a tuple prints as a list; variables that `transformers` takes from Python code (tools) are given with
//! [`ChatTemplate::with_variable`].

mod environment;
mod generation;
mod json;
mod python;
mod source;

use std::ops::Range;
use std::path::Path;

use minijinja::{Environment, Value, context};
use serde_json::{Map, json};

use crate::error::DataError;
use crate::record::Message;
use crate::tokenizer::{SpecialTokens, read_json_object};

/// A parsed chat template.
///
/// ```
/// use datasets::{ChatTemplate, GenerationPrompt, Message};
/// let source = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}\
///               {% if add_generation_prompt %}assistant:{% endif %}";
/// let template = ChatTemplate::new(source, &Default::default()).unwrap();
/// let text = template.render(&[Message::user(" Hi ")], GenerationPrompt::Add).unwrap();
/// assert_eq!(text, "user: Hi\nassistant:");
/// ```
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    marks_generation: bool,
}

/// Whether the rendered text ends with what makes the assistant speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationPrompt {
    /// Ready for an answer.
    Add,
    /// Just the messages.
    Omit,
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Loads the template of a model folder: `chat_template.jinja`, or the `chat_template` of `tokenizer_config.json`.
    pub fn from_dir(dir: &Path) -> Result<Self, DataError> {
        Self::new(&read_source(dir)?, &SpecialTokens::from_dir(dir)?)
    }

    /// Parses a template. It may use the special tokens by their names (`bos_token`, …).
    pub fn new(source: &str, special_tokens: &SpecialTokens) -> Result<Self, DataError> {
        let mut environment = environment::hugging_face(special_tokens);
        let source = source::as_jinja2_reads(source);
        let (source, marks_generation) = generation::as_filter_blocks(&source);
        environment
            .add_template_owned(NAME, source)
            .map_err(|error| DataError::Template {
                problem: format!("does not parse: {error}"),
                hint: "copy chat_template.jinja again from the original model".into(),
            })?;
        Ok(Self {
            environment,
            marks_generation,
        })
    }

    /// Gives the template a variable of its own, such as Qwen 3's `enable_thinking`.
    pub fn with_variable(mut self, name: &str, value: &serde_json::Value) -> Self {
        self.environment
            .add_global(name.to_owned(), Value::from_serialize(value));
        self
    }

    /// Sets the time that `strftime_now` prints, in seconds since 1970; without it, when the template was loaded.
    pub fn with_now(mut self, unix_secs: i64) -> Self {
        let now = chrono::DateTime::from_timestamp(unix_secs, 0).unwrap_or_default();
        environment::set_now(&mut self.environment, now.with_timezone(&chrono::Local));
        self
    }

    /// The text that the model sees.
    pub fn render(
        &self,
        messages: &[Message],
        generation_prompt: GenerationPrompt,
    ) -> Result<String, DataError> {
        self.render_dicts(
            as_dicts(messages),
            generation_prompt,
            generation::Marks::Off,
        )
    }

    /// The bytes inside the `{% generation %}` blocks of `text`, which is what [`render`](Self::render) makes of the
    /// messages without a generation prompt.
    ///
    /// `None` where the template has no such block, or does something to the block's text after it.
    pub(crate) fn generation_spans(
        &self,
        messages: &[Message],
        text: &str,
    ) -> Result<Option<Vec<Range<usize>>>, DataError> {
        if !self.marks_generation {
            return Ok(None);
        }
        let marked = self.render_dicts(
            as_dicts(messages),
            GenerationPrompt::Omit,
            generation::Marks::On,
        )?;
        Ok(generation::spans(&marked, text))
    }

    fn render_dicts(
        &self,
        messages: Vec<Value>,
        generation_prompt: GenerationPrompt,
        marks: generation::Marks,
    ) -> Result<String, DataError> {
        let template = self
            .environment
            .get_template(NAME)
            .expect("added when it was parsed");
        let variables = context! {
            messages,
            add_generation_prompt => generation_prompt == GenerationPrompt::Add,
            ..marks.variables()
        };
        template.render(variables).map_err(|error| DataError::Template {
            problem: problem(&error),
            hint: "the template of the model decides which roles may follow one another; change the messages, or use \
                   another model's chat_template.jinja"
                .into(),
        })
    }
}

/// Messages as the dictionaries that templates expect; `train` is ours alone.
fn as_dicts(messages: &[Message]) -> Vec<Value> {
    let dict = |message: &Message| {
        let mut dict = Map::new();
        dict.insert("role".into(), json!(message.role));
        dict.insert("content".into(), json!(message.content));
        dict.extend(message.extra.clone());
        Value::from_serialize(dict)
    };
    messages.iter().map(dict).collect()
}

/// The innermost message with its line: that is where `raise_exception` speaks.
fn problem(error: &minijinja::Error) -> String {
    let mut innermost = error;
    while let Some(source) = std::error::Error::source(innermost).and_then(|e| e.downcast_ref()) {
        innermost = source;
    }
    let message = innermost
        .detail()
        .map_or_else(|| innermost.kind().to_string(), str::to_owned);
    match innermost.line() {
        Some(line) => format!("{message} (line {line} of the template)"),
        None => message,
    }
}

fn read_source(dir: &Path) -> Result<String, DataError> {
    let path = dir.join("chat_template.jinja");
    match std::fs::read_to_string(&path) {
        Ok(source) => return Ok(source),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(DataError::Read { path, source }),
    }
    for file in ["tokenizer_config.json", "chat_template.json"] {
        let config = read_json_object(&dir.join(file))?.unwrap_or_default();
        if let Some(source) = config.get("chat_template").and_then(default_template) {
            return Ok(source.to_owned());
        }
    }
    Err(DataError::Tokenizer {
        path,
        problem: "there is no chat template here, nor in tokenizer_config.json".into(),
        hint: "conversations need one: copy chat_template.jinja from the instruction-tuned model of the family".into(),
    })
}

/// A template as a string, or the one called `default` in a list of `{name, template}`.
fn default_template(value: &serde_json::Value) -> Option<&str> {
    let named_default = |entry: &&serde_json::Value| {
        entry.get("name").and_then(|name| name.as_str()) == Some("default")
    };
    value.as_str().or_else(|| {
        value
            .as_array()?
            .iter()
            .find(named_default)?
            .get("template")?
            .as_str()
    })
}

#[cfg(test)]
mod tests;
