//! Closeness to a reference translation: `chrf`, `chrf++`, `bleu`, each divided by 100.

use super::Answers;
use crate::metrics::{Bleu, Chrf, Tokenizer};
use crate::{Args, Attempt, Registry, RewardError, RewardFn};

pub(super) fn register(registry: &mut Registry) {
    registry.register("chrf", |args| {
        Ok(Box::new(Closeness {
            answers: Answers::parse(args)?,
            metric: Metric::Chrf(Chrf::CHRF),
        }))
    });
    registry.register("chrf++", |args| {
        Ok(Box::new(Closeness {
            answers: Answers::parse(args)?,
            metric: Metric::Chrf(Chrf::CHRF_PLUS_PLUS),
        }))
    });
    registry.register("bleu", |args| {
        Ok(Box::new(Closeness {
            answers: Answers::parse(args)?,
            metric: Metric::Bleu(Bleu::sentence(tokenizer(args)?)),
        }))
    });
}

fn tokenizer(args: &mut Args) -> Result<Tokenizer, RewardError> {
    let name = args.choice("tokenize", &Tokenizer::ALL.map(Tokenizer::name))?;
    Ok(Tokenizer::ALL
        .into_iter()
        .find(|t| t.name() == name)
        .unwrap_or_default())
}

struct Closeness {
    answers: Answers,
    metric: Metric,
}

enum Metric {
    Chrf(Chrf),
    Bleu(Bleu),
}

impl RewardFn for Closeness {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let references = self.answers.of(attempt)?;
        let score = match &self.metric {
            Metric::Chrf(chrf) => chrf.sentence_score(attempt.completion, &references),
            Metric::Bleu(bleu) => bleu.sentence_score(attempt.completion, &references),
        };
        Some(score / 100.0)
    }

    fn needs_reference(&self) -> bool {
        self.answers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Attempt, Verifier};
    use serde_json::json;

    #[test]
    fn a_perfect_translation_earns_one() {
        let attempt = Attempt {
            reference: Some("Der alte Turm steht am See ."),
            ..Attempt::new("", "Der alte Turm steht am See .")
        };
        for name in ["chrf", "chrf++", "bleu"] {
            let reward = Verifier::parse(name, &json!({}))
                .unwrap()
                .score(&attempt)
                .unwrap();
            assert!((reward - 1.0).abs() < 1e-12, "{name}: {reward}");
        }
    }

    #[test]
    fn args_overrule_the_records_reference() {
        let attempt = Attempt {
            reference: Some("x"),
            ..Attempt::new("", "Turm")
        };
        assert_eq!(
            Verifier::parse("chrf", &json!({"ground_truth": "Turm"}))
                .unwrap()
                .score(&attempt),
            Some(1.0)
        );
    }

    #[test]
    fn bleu_takes_a_tokenizer() {
        let score = |args| {
            Verifier::parse("bleu", &args)
                .unwrap()
                .score(&Attempt::new("", "古い塔は川にある"))
                .unwrap()
        };
        assert!(
            (score(json!({"ground_truth": "古い塔は川にある。", "tokenize": "char"}))
                - (-1.0f64 / 8.0).exp())
            .abs()
                < 1e-12
        );
        assert_eq!(
            score(json!({"ground_truth": "古い塔は川にある。", "tokenize": "13a"})),
            0.0
        );
        assert!(Verifier::parse("bleu", &json!({"tokenize": "intl"})).is_err());
    }
}
