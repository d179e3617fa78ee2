use super::Findings;
use crate::recipe::{
    PoSettings, PolicyLossType, PreferenceLossType, RawRecipe, RlSettings, StageName,
    StageSettings, for_stage,
};

/// A key that not every recipe reads.
struct Row {
    key: &'static str,
    is_set: bool,
    is_read: bool,
    reader: Reader,
}

/// What reads a key.
#[derive(Clone, Copy)]
enum Reader {
    /// These losses.
    Losses(&'static str),
    /// Whatever the loss, where this is true.
    Switch(&'static str),
}

/// Adds the keys with another value than their default's that nothing in the recipe reads.
pub fn unread_keys(findings: &mut Findings, settings: &StageSettings) {
    let (rows, loss_type) = match settings {
        StageSettings::Po(po) => {
            let names: Vec<&str> = po.loss_type.iter().map(|loss| loss.as_str()).collect();
            (preference_rows(po), names.join(", "))
        }
        StageSettings::Rl(rl) => (policy_rows(rl), rl.loss_type.as_str().to_owned()),
        StageSettings::Cpt(_) | StageSettings::Sft(_) => return,
    };
    for row in rows.into_iter().filter(|row| row.is_set && !row.is_read) {
        let (why, hint) = match row.reader {
            Reader::Losses(losses) => (
                format!("loss_type is {loss_type}"),
                format!("it is for {losses}: set loss_type, or leave it out"),
            ),
            Reader::Switch(switch) => (
                format!("{switch} is false"),
                format!("set {switch} = true, or leave it out"),
            ),
        };
        let problem = format!("{} is set, and nothing reads it: {why}", row.key);
        findings.warn(problem, hint);
    }
}

impl Row {
    fn new(key: &'static str, [value, default]: [f64; 2], is_read: bool, reader: Reader) -> Self {
        let is_set = value != default;
        Row {
            key,
            is_set,
            is_read,
            reader,
        }
    }
}

fn preference_rows(po: &PoSettings) -> Vec<Row> {
    use PreferenceLossType::*;
    let StageSettings::Po(default) = by_default(StageName::Po) else {
        unreachable!("the stage's own settings");
    };
    let row = |key, value: fn(&PoSettings) -> f64, readers: &[PreferenceLossType], losses| {
        let is_read = po.loss_type.iter().any(|loss| readers.contains(loss));
        let reader = Reader::Losses(losses);
        Row::new(key, [value(po), value(&default)], is_read, reader)
    };
    let smooth = [
        Sigmoid,
        SigmoidNorm,
        Robust,
        ExoPair,
        Aot,
        AotUnpaired,
        Cpo,
        Simpo,
        Alphapo,
        Arpo,
    ];
    let smooth_names = "sigmoid, sigmoid_norm, robust, exo_pair, aot, cpo, simpo, alphapo and arpo";
    let (kto, kto_names) = ([Kto, ApoZeroUnpaired], "kto and apo_zero_unpaired");
    let simpo = "simpo and alphapo";
    vec![
        row("simpo_gamma", |po| po.simpo_gamma, &[Simpo, Alphapo], simpo),
        row(
            "discopop_tau",
            |po| po.discopop_tau,
            &[Discopop],
            "discopop",
        ),
        row(
            "desirable_weight",
            |po| po.desirable_weight,
            &kto,
            kto_names,
        ),
        row(
            "undesirable_weight",
            |po| po.undesirable_weight,
            &kto,
            kto_names,
        ),
        row(
            "label_smoothing",
            |po| po.label_smoothing,
            &smooth,
            smooth_names,
        ),
    ]
}

fn policy_rows(rl: &RlSettings) -> Vec<Row> {
    use PolicyLossType::{Cispo, Sapo, Vespo};
    let StageSettings::Rl(default) = by_default(StageName::Rl) else {
        unreachable!("the stage's own settings");
    };
    let row = |key, value: fn(&RlSettings) -> f64, loss: PolicyLossType| {
        let reader = Reader::Losses(loss.as_str());
        let is_read = rl.loss_type == loss;
        Row::new(key, [value(rl), value(&default)], is_read, reader)
    };
    let clips = ![Cispo, Sapo, Vespo].contains(&rl.loss_type);
    let delta = [rl.delta.unwrap_or(0.0), 0.0];
    let adaptive = |key, value: fn(&RlSettings) -> f64| {
        let is_read = rl.use_adaptive_entropy;
        let reader = Reader::Switch("use_adaptive_entropy");
        Row::new(key, [value(rl), value(&default)], is_read, reader)
    };
    vec![
        adaptive("entropy_target", |rl| rl.entropy_target),
        adaptive("entropy_coef_delta", |rl| rl.entropy_coef_delta),
        adaptive("entropy_coef_min", |rl| rl.entropy_coef_min),
        adaptive("entropy_coef_max", |rl| rl.entropy_coef_max),
        row("sapo_temperature_pos", |rl| rl.sapo_temperature_pos, Sapo),
        row("sapo_temperature_neg", |rl| rl.sapo_temperature_neg, Sapo),
        row("vespo_k_pos", |rl| rl.vespo_k_pos, Vespo),
        row("vespo_k_neg", |rl| rl.vespo_k_neg, Vespo),
        row("vespo_lambda_pos", |rl| rl.vespo_lambda_pos, Vespo),
        row("vespo_lambda_neg", |rl| rl.vespo_lambda_neg, Vespo),
        Row::new(
            "delta",
            delta,
            clips,
            Reader::Losses("losses that clip the ratio"),
        ),
    ]
}

fn by_default(stage: StageName) -> StageSettings {
    let recipe = for_stage(&RawRecipe::new(), stage);
    recipe.expect("the defaults are a sound recipe").stage
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(stage: StageName, settings: &[&str]) -> Vec<String> {
        let mut raw = RawRecipe::new();
        for setting in settings {
            raw.set(Some(stage), setting);
        }
        let recipe = for_stage(&raw, stage).expect("it is sound");
        let mut findings = Findings::default();
        unread_keys(&mut findings, &recipe.stage);
        let warnings = findings.warnings.iter();
        warnings.map(ToString::to_string).collect()
    }

    #[test]
    fn a_key_that_the_loss_does_not_read_is_named_with_the_loss_that_does() {
        let unread = warned(StageName::Po, &["simpo_gamma=1.5", "label_smoothing=0.1"]);
        let [gamma] = &unread[..] else {
            panic!("one warning in {unread:?}");
        };
        assert!(gamma.contains("simpo_gamma is set"), "{gamma}");
        assert!(gamma.contains("loss_type is sigmoid"), "{gamma}");
        assert!(gamma.contains("it is for simpo and alphapo"), "{gamma}");
        let unread = warned(
            StageName::Rl,
            &["vespo_k_pos=3", "delta=3", "loss_type=sapo"],
        );
        assert_eq!(unread.len(), 2, "{unread:?}");
        let unread = warned(StageName::Rl, &["entropy_target=0.5"]);
        let hint = "set use_adaptive_entropy = true, or leave it out";
        assert!(unread.len() == 1 && unread[0].contains(hint), "{unread:?}");
    }

    #[test]
    fn what_a_loss_reads_or_what_has_its_default_is_no_finding() {
        for (stage, settings) in [
            (StageName::Po, &["simpo_gamma=1.5", "loss_type=simpo"][..]),
            (StageName::Po, &["discopop_tau=0.05"]),
            (StageName::Rl, &["delta=3"]),
            (
                StageName::Rl,
                &["use_adaptive_entropy=true", "entropy_coef_max=0.1"],
            ),
            (
                StageName::Rl,
                &["sapo_temperature_neg=1.2", "loss_type=sapo"],
            ),
            (StageName::Sft, &[]),
        ] {
            assert_eq!(warned(stage, settings), Vec::<String>::new());
        }
    }
}
