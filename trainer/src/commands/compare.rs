use datasets::{DocumentStart, JsonlSource, OnBadRecord, SupervisedTokens, TokenBatch};
use kernels::KernelSet;
use kernels::device::{OpenDevice, open};
use model::{CausalLm, ModelConfig};

use super::scored_text::Encoder;
use crate::TrainError;
use crate::cli::{CompareArgs, SideName};
use crate::compare::{
    Block, Direction, Scope, Side, compare, first_diverging, first_nonfinite, nonfinite_parameters,
    table,
};
use crate::run::compute_dtype;

/// Prints where two sides diverge, or what makes a NaN on one.
pub(super) fn run(args: &CompareArgs) -> Result<(), TrainError> {
    let batch = batch(args)?;
    match (args.a, args.b) {
        (Some(a), Some(b)) if !args.nan => two_sides(args, &batch, [a, b]),
        (a, b) => {
            let named: Vec<SideName> = a.into_iter().chain(b).collect();
            let sides = if named.is_empty() {
                vec![SideName::default()]
            } else {
                named
            };
            // Each side is reported, whatever the other came to.
            let results: Vec<_> = sides
                .into_iter()
                .map(|side| nan(args, &batch, side))
                .collect();
            results.into_iter().collect()
        }
    }
}

fn two_sides(
    args: &CompareArgs,
    batch: &TokenBatch,
    names: [SideName; 2],
) -> Result<(), TrainError> {
    let [a, b] = names.map(|name| Place::of(name, args));
    let (a, b) = (a?, b?);
    if a.name() == b.name() {
        return Err(TrainError::Usage(format!(
            "--a {} and --b {} are both {}\nhint: name two devices, such as `--a cpu --b wgpu`, \
             or two sets of kernels, `--a reference --b fused`",
            names[0],
            names[1],
            a.name()
        )));
    }
    let (a, b) = (a.load(args)?, b.load(args)?);
    let rows = compare([&a, &b], batch, &progress);
    print!("{}", table([&a.name, &b.name], &rows));
    let Some(first) = first_diverging(&rows) else {
        println!(
            "\n{} and {} agree: no difference is more than rounding",
            a.name, b.name
        );
        return Ok(());
    };
    let what = match (first.direction, first.scope) {
        (Direction::Forward, _) => first.name.clone(),
        (Direction::Backward, _) => format!("gradient of {}", first.name),
    };
    let hint = if first.error.is_nan() {
        "one side is not finite there; `--nan` finds what makes it so"
    } else if first.scope == Scope::Parameter {
        "the gradient of the block's input agrees: look at how this parameter's is summed"
    } else {
        "both sides had the same input there: this operation, or its weights, are to blame"
    };
    Err(TrainError::Diverges(format!(
        "{} and {} diverge, first at {}, {}, {what}: {:.2e}, of which rounding explains {:.2e}\n\
         hint: {hint}",
        a.name,
        b.name,
        first.direction.name(),
        first.block,
        first.error,
        first.bound
    )))
}

fn nan(args: &CompareArgs, batch: &TokenBatch, name: SideName) -> Result<(), TrainError> {
    let side = Place::of(name, args)?.load(args)?;
    let parameters = nonfinite_parameters(&side);
    for (name, count) in &parameters {
        println!("parameter {name}: {count} of its numbers are not finite");
    }
    let Some(found) = first_nonfinite(&side, batch, &progress) else {
        println!("{}: everything is finite, forward and backward", side.name);
        return Ok(());
    };
    println!("{found}");
    let hint = if parameters.is_empty() {
        "the weights are finite: the operation overflows, or is wrong; `--dtype float32` and \
         another side tell which"
    } else {
        "the checkpoint itself is not finite; go back to an earlier one"
    };
    Err(TrainError::Diverges(format!(
        "{}: not finite from {}, {}, {} on\nhint: {hint}",
        side.name,
        found.direction.name(),
        found.block,
        found.name
    )))
}

/// A side whose device was found and whose model is not loaded yet.
struct Place {
    device: OpenDevice,
    kernels: KernelSet,
}

impl Place {
    fn of(side: SideName, args: &CompareArgs) -> Result<Self, TrainError> {
        let kernels = match side.kernels {
            Some(kernels) => kernels,
            None => KernelSet::from_env().map_err(TrainError::Usage)?,
        };
        Ok(Place {
            device: open(side.device.unwrap_or(args.device))?,
            kernels,
        })
    }

    fn name(&self) -> String {
        format!("{}/{}", self.device.name, self.kernels)
    }

    fn load(&self, args: &CompareArgs) -> Result<Side, TrainError> {
        let dtype = compute_dtype(args.dtype, &self.device)?;
        let device = self.device.device.clone().autodiff();
        let (model, report) = CausalLm::load(&args.model, &device, dtype)?;
        for warning in &report.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(Side {
            name: self.name(),
            model,
            kernels: self.kernels,
        })
    }
}

/// The first records that fit.
fn batch(args: &CompareArgs) -> Result<TokenBatch, TrainError> {
    let config = ModelConfig::from_dir(&args.model)?;
    let start = match config.uses_bos() {
        true => DocumentStart::Bos,
        false => DocumentStart::Text,
    };
    let records = JsonlSource::open(std::slice::from_ref(&args.data), OnBadRecord::Error)?;
    let mut encoder = Encoder::new(&args.model, start)?;
    let mut sequences = Vec::new();
    let mut num_tokens = 0;
    for index in 0..records.len() {
        let mut ids = encoder.encode(records.get(index)?)?;
        if num_tokens > 0 && num_tokens + ids.len() > args.max_tokens {
            break;
        }
        ids.truncate(args.max_tokens);
        num_tokens += ids.len();
        sequences.push(SupervisedTokens::document(ids));
    }
    let batch = TokenBatch::from_sequences(&sequences);
    if batch.num_supervised() == 0 {
        return Err(TrainError::NothingToTrain(format!(
            "{}: nothing to predict in the first {} tokens\nhint: a text needs two tokens or more",
            args.data.display(),
            args.max_tokens
        )));
    }
    eprintln!(
        "{} of {} records, {num_tokens} tokens",
        sequences.len(),
        records.len()
    );
    Ok(batch)
}

fn progress(direction: Direction, block: Block) {
    eprintln!("{} {block}", direction.name());
}
