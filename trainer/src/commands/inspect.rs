use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datasets::{AssistantTurns, ChatTokenizer, DocumentStart, OnBadRecord, Tokenizer};
use model::ModelConfig;

use crate::TrainError;
use crate::cli::InspectArgs;
use crate::inspect::{Marking, Page};
use crate::preflight::{Findings, look_at_pairs, look_at_prompts, look_at_sequences, model_files};
use crate::recipe::{Recipe, StageSettings, TrainTurns, for_stage};
use crate::rollout::{Prompts, RewardFunctions};
use crate::say;
use crate::stages::preference::pairs::{Pairs, Unpaired};
use crate::stages::pretraining::Documents;
use crate::stages::sft::Conversations;
use crate::stages::supervised::{BatchShape, Sequences};

/// Lines that cannot be used are shown, not fatal.
const ON_BAD_RECORD: OnBadRecord = OnBadRecord::Skip;

/// Prints what the stage will see.
pub(super) fn run(args: &InspectArgs) -> Result<(), TrainError> {
    let recipe = for_stage(&args.raw_recipe()?, args.stage)?;
    let data = recipe.require_train_data()?;
    let demo = match &recipe.model.model_name_or_path {
        Some(_) => None,
        None => Some(demo_tokenizer(recipe.model.seed)?),
    };
    let model_dir = match (&demo, &recipe.model.model_name_or_path) {
        (Some(dir), _) => dir.path(),
        (None, given) => given.as_deref().expect("it was found just now"),
    };
    let config = match demo {
        Some(_) => None,
        None => Some(ModelConfig::from_dir(model_dir)?),
    };
    let uses_bos = config.as_ref().is_none_or(ModelConfig::uses_bos);
    let source = Source {
        recipe: &recipe,
        data,
        model_dir,
        document_start: match uses_bos {
            true => DocumentStart::Bos,
            false => DocumentStart::Text,
        },
        config: config.as_ref(),
    };
    let mut page = Page::new(marking(), args.records);
    source.show(&mut page)?;
    let text = page.into_text();
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(TrainError::io(Path::new("standard output")))
}

/// Colour for a terminal that wants it.
fn marking() -> Marking {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match std::io::stdout().is_terminal() && !no_colour {
        true => Marking::Colour,
        false => Marking::Brackets,
    }
}

/// The demo's tokenizer in a folder that goes away.
fn demo_tokenizer(seed: u64) -> Result<tempfile::TempDir, TrainError> {
    say!(
        "note: no --model was given, so the tokenizer and the chat template are those of the \
         built-in demo"
    );
    let place = std::env::temp_dir();
    let dir = tempfile::tempdir().map_err(TrainError::io(&place))?;
    datasets::demo::tokenizer::write(dir.path(), seed)
        .map_err(|error| TrainError::Usage(format!("the demo's tokenizer: {error}")))?;
    Ok(dir)
}

struct Source<'a> {
    recipe: &'a Recipe,
    data: &'a [PathBuf],
    model_dir: &'a Path,
    document_start: DocumentStart,
    config: Option<&'a ModelConfig>,
}

impl Source<'_> {
    fn show(&self, page: &mut Page) -> Result<(), TrainError> {
        let seed = self.recipe.model.seed;
        let (dir, start) = (self.model_dir, self.document_start);
        match &self.recipe.stage {
            StageSettings::Cpt(settings) => {
                let data = Documents::open(self.data, ON_BAD_RECORD, dir, start, seed)?;
                self.supervised(page, &data, settings.max_length, settings.packing)
            }
            StageSettings::Sft(settings) => {
                let turns = match settings.train_turns {
                    TrainTurns::All => AssistantTurns::All,
                    TrainTurns::Last => AssistantTurns::Last,
                };
                let data = Conversations::open(self.data, ON_BAD_RECORD, dir, start, turns, seed)?;
                self.supervised(page, &data, settings.max_length, settings.packing)
            }
            StageSettings::Po(settings) => {
                let unpaired = Unpaired::of(settings);
                let pairs = Pairs::open(self.data, ON_BAD_RECORD, unpaired, dir, start)?;
                let mut findings = look_at_pairs(&pairs, settings);
                let chat = pairs.tokenizer();
                self.model_files(&mut findings, chat.tokenizer());
                page.findings(&findings);
                page.rejects(pairs.skipped());
                page.pairs(&pairs, settings.max_length)
            }
            StageSettings::Rl(settings) => {
                let chat = Arc::new(ChatTokenizer::from_dir(dir, start)?);
                let length = settings.max_prompt_length;
                let functions = RewardFunctions::of(settings)?;
                let prompts =
                    Prompts::open(self.data, ON_BAD_RECORD, chat.clone(), length, functions)?;
                let mut findings = look_at_prompts(&prompts);
                self.model_files(&mut findings, chat.tokenizer());
                page.findings(&findings);
                page.rejects(prompts.skipped());
                page.prompts(&prompts)
            }
        }
    }

    fn supervised(
        &self,
        page: &mut Page,
        data: &dyn Sequences,
        max_length: usize,
        packing: bool,
    ) -> Result<(), TrainError> {
        let shape = BatchShape {
            max_length,
            batch_size: self.recipe.data.per_device_train_batch_size,
            accumulation: self.recipe.data.gradient_accumulation_steps,
            packing,
        };
        let mut findings = look_at_sequences(data, shape);
        self.model_files(&mut findings, data.tokenizer());
        page.findings(&findings);
        page.rejects(data.skipped());
        page.packing(data, shape)?;
        page.sequences(data, max_length)
    }

    fn model_files(&self, findings: &mut Findings, tokenizer: &Tokenizer) {
        if let Some(config) = self.config {
            model_files(findings, config, tokenizer);
        }
    }
}
