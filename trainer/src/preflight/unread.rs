use super::Findings;
use crate::recipe::{
    PoSettings, PolicyLossType, PreferenceLossType, RawRecipe, RlSettings, StageName,
    StageSettings, for_stage,
};

/// A key of a loss.
struct Row {
    key: &'static str,
    is_set: bool,
    is_read: bool,
    /// Which losses read it.
    losses: &'static str,
}

/// Adds the keys with another value than their default's that no loss of the recipe reads.
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
        let problem = format!(
            "{} is set, and nothing reads it: loss_type is {loss_type}",
            row.key
        );
        let hint = format!("it is for {}: set loss_type, or leave it out", row.losses);
        findings.warn(problem, hint);
    }
}

fn preference_rows(po: &PoSettings) -> Vec<Row> {
    use PreferenceLossType::*;
    let StageSettings::Po(default) = by_default(StageName::Po) else {
        unreachable!("the stage's own settings");
    };
    let reads = |losses: &[PreferenceLossType]| po.loss_type.iter().any(|l| losses.contains(l));
    let row = |key, is_set, is_read, losses| Row {
        key,
        is_set,
        is_read,
        losses,
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
    vec![
        row(
            "simpo_gamma",
            po.simpo_gamma != default.simpo_gamma,
            reads(&[Simpo, Alphapo]),
            "simpo and alphapo",
        ),
        row(
            "discopop_tau",
            po.discopop_tau != default.discopop_tau,
            reads(&[Discopop]),
            "discopop",
        ),
        row(
            "desirable_weight",
            po.desirable_weight != default.desirable_weight,
            reads(&[Kto, ApoZeroUnpaired]),
            "kto and apo_zero_unpaired",
        ),
        row(
            "undesirable_weight",
            po.undesirable_weight != default.undesirable_weight,
            reads(&[Kto, ApoZeroUnpaired]),
            "kto and apo_zero_unpaired",
        ),
        row(
            "label_smoothing",
            po.label_smoothing != default.label_smoothing,
            reads(&smooth),
            "sigmoid, sigmoid_norm, robust, exo_pair, aot, cpo, simpo, alphapo and arpo",
        ),
    ]
}

fn policy_rows(rl: &RlSettings) -> Vec<Row> {
    use PolicyLossType::{Cispo, Sapo, Vespo};
    let StageSettings::Rl(default) = by_default(StageName::Rl) else {
        unreachable!("the stage's own settings");
    };
    let of = |key, [value, default]: [f64; 2], loss| Row {
        key,
        is_set: value != default,
        is_read: rl.loss_type == loss,
        losses: loss.as_str(),
    };
    let mut rows = vec![
        of(
            "sapo_temperature_pos",
            [rl.sapo_temperature_pos, default.sapo_temperature_pos],
            Sapo,
        ),
        of(
            "sapo_temperature_neg",
            [rl.sapo_temperature_neg, default.sapo_temperature_neg],
            Sapo,
        ),
        of("vespo_k_pos", [rl.vespo_k_pos, default.vespo_k_pos], Vespo),
        of("vespo_k_neg", [rl.vespo_k_neg, default.vespo_k_neg], Vespo),
        of(
            "vespo_lambda_pos",
            [rl.vespo_lambda_pos, default.vespo_lambda_pos],
            Vespo,
        ),
        of(
            "vespo_lambda_neg",
            [rl.vespo_lambda_neg, default.vespo_lambda_neg],
            Vespo,
        ),
    ];
    rows.push(Row {
        key: "delta",
        is_set: rl.delta.is_some(),
        is_read: ![Cispo, Sapo, Vespo].contains(&rl.loss_type),
        losses: "losses that clip the ratio, not cispo, sapo or vespo",
    });
    rows
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
    }

    #[test]
    fn what_a_loss_reads_or_what_has_its_default_is_no_finding() {
        for (stage, settings) in [
            (StageName::Po, &["simpo_gamma=1.5", "loss_type=simpo"][..]),
            (StageName::Po, &["discopop_tau=0.05"]),
            (StageName::Rl, &["delta=3"]),
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
