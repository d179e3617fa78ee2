use serde_json::json;
use telemetry::atomic::write_atomic;

use super::opened;
use crate::TrainError;
use crate::cli::EvaluateArgs;
use crate::evaluate::{Answering, Evaluator, Scorecard, Suite, SuiteFile};
use crate::say;

/// Prints what a model scores on held-out files.
pub(super) fn run(args: &EvaluateArgs) -> Result<(), TrainError> {
    let mut suite = match args.suite() {
        Some(path) => Suite::read(path)?,
        None => Suite::default(),
    };
    let answering = Answering {
        max_new_tokens: args.max_new_tokens,
        temperature: f64::from(args.temperature),
        samples: args.num_samples,
        seed: args.seed,
    };
    suite.files.extend(args.data().iter().map(|path| SuiteFile {
        path: path.clone(),
        skill: None,
        answering,
    }));
    let (model, document_start) = opened::model(&args.model, args.device, args.dtype)?;
    let evaluator = Evaluator {
        model: &model,
        dir: &args.model,
        document_start,
    };
    let mut scorecard = Scorecard::default();
    for file in &suite.files {
        say!("{}", file.path.display());
        scorecard.files.push(evaluator.measure(file)?);
    }
    print!("{}", scorecard.to_text());
    if let Some(path) = &args.output {
        let mut json = scorecard.to_json();
        json["model"] = json!(args.model.display().to_string());
        json["suite"] = json!(args.suite().map(|path| path.display().to_string()));
        json["dtype"] = json!(format!("{:?}", model.dtype()).to_lowercase());
        write_atomic(path, format!("{json:#}\n"))?;
    }
    Ok(())
}
