use burn::tensor::{Device, Tensor};

use super::*;

fn tensor(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &Device::flex())
}

fn host(values: Tensor<1>) -> Vec<f32> {
    values.into_data().try_to_vec().expect("float32")
}

#[test]
fn dpo_is_ln_2_when_policy_equals_reference() {
    for smoothing in [0.0, 0.1] {
        let loss = host(dpo(tensor(&[0.0]), 0.1, smoothing));
        assert!((loss[0] - std::f32::consts::LN_2).abs() < 1e-6);
    }
}

#[test]
fn losses_worked_by_hand() {
    // β·m = 0.5·2 = 1: log σ(1) = −0.3132617, log σ(−1) = −1.3132617.
    let margin = || tensor(&[2.0]);
    let near = |got: Tensor<1>, want: f32| {
        let got = host(got)[0];
        assert!((got - want).abs() < 1e-5, "{got} for {want}");
    };
    near(dpo(margin(), 0.5, 0.0), 0.313_261_7);
    // 0.9·0.3132617 + 0.1·1.3132617
    near(dpo(margin(), 0.5, 0.1), 0.413_261_7);
    // (0.9·0.3132617 − 0.1·1.3132617) / 0.8
    near(robust(margin(), 0.5, 0.1), 0.188_261_7);
    near(hinge(margin(), 0.25), 0.5);
    // (2 − 1/(2·0.5))² = 1
    near(ipo(margin(), 0.5), 1.0);
    // σ(1)·(log σ(1) − log 0.9) + σ(−1)·(log σ(−1) − log 0.1)
    near(
        exo(margin(), 0.5, 0.1),
        0.7310586 * (-0.3132617 + 0.1053605) + 0.2689414 * (-1.3132617 + 10f32.ln()),
    );
    // x = 1, s = σ(2) = 0.8807971
    near(
        discopop(margin(), 0.5, 0.5),
        0.3132617 * 0.1192029 + 0.3678794 * 0.8807971,
    );
    // w = 2, l = −4, β = 0.5: log σ(1), log σ(−1), log σ(2) = −0.126928
    let (w, l) = (|| tensor(&[2.0]), || tensor(&[-4.0]));
    near(
        nca(w(), l(), 0.5),
        0.3132617 + 0.5 * 1.3132617 + 0.5 * 0.126928,
    );
    near(bco(w(), l(), 0.5), 0.3132617 + 0.126928);
    // (2 − 1)² + (−4 + 1)²
    near(sppo_hard(w(), l(), 0.5), 10.0);
    // 1 − σ(1) + σ(−2)
    near(apo_zero(w(), l(), 0.5), 0.2689414 + 0.1192029);
    // σ(1) + 1 − σ(3)
    near(apo_down(w(), l(), 0.5), 0.7310586 + 1.0 - 0.9525741);
    // SimPO: −log σ(0.5·2 − 1)
    near(simpo(margin(), 0.5, 1.0, 0.0), std::f32::consts::LN_2);
    // odds(e^−0.5) = 1.5414941, odds(e^−2) = 0.1565176: log ratio 2.2872437; −0.1·log σ
    near(orpo(tensor(&[-0.5]), tensor(&[-2.0]), 0.1), 0.1 * 0.096_788);
    // KTO, z = 1, d = 3: 1 − σ(0.5·2), 1 − σ(−1)
    near(kto_desirable(tensor(&[3.0]), 1.0, 0.5), 0.2689414);
    near(kto_undesirable(tensor(&[3.0]), 1.0, 0.5), 0.7310586);
}

#[test]
fn alphapo_bends_the_log_probability() {
    // α = 0.5, log p = −2: (1 − e) / 0.5 = −3.4365637; α = −0.5: (1 − 1/e) / −0.5 = −1.2642411.
    let got = |alpha| host(alphapo_rewards(tensor(&[-2.0]), alpha))[0];
    assert!((got(0.5) + 3.436_563_7).abs() < 1e-5, "{}", got(0.5));
    assert!((got(-0.5) + 1.264_241_1).abs() < 1e-6, "{}", got(-0.5));
    assert_eq!(got(0.0), -2.0);
    // Near 0 it is near the logarithm: −2 − α·2²/2.
    assert!((got(0.01) + 2.020_134).abs() < 1e-4, "{}", got(0.01));
}

#[test]
fn aot_compares_sorted_lists() {
    // Sorted: (1, 3) and (0, 2): differences 1 and 1.
    let got = host(aot(tensor(&[3.0, 1.0]), tensor(&[0.0, 2.0]), 1.0, 0.0));
    assert!(
        got.iter().all(|loss| (loss - 0.313_261_7).abs() < 1e-6),
        "{got:?}"
    );
}

#[test]
fn arpo_lets_close_answers_be() {
    // |w̄ − l̄| = 0: τ = 0.9 − 1 = −0.1; far apart τ = 1 and ARPO is CPO.
    let w = || tensor(&[-4.0]);
    let got = host(arpo([w(), w()], [w(), w()], 1.0, 0.0))[0];
    assert!((got - (1.0 + 4.4f32.exp()).ln()).abs() < 1e-5, "{got}");
    let far = [tensor(&[-1.0]), tensor(&[-9.0])];
    let got = host(arpo([w(), tensor(&[-5.0])], far, 1.0, 0.0));
    let cpo = host(dpo(tensor(&[1.0]), 1.0, 0.0));
    assert_eq!(got, cpo);
}

#[test]
fn a_certain_answer_has_finite_odds_and_gradient() {
    let device = Device::flex().autodiff();
    let leaf = Tensor::<1>::from_floats([0.0, -1e-6, -30.0], &device).require_grad();
    let other = Tensor::<1>::from_floats([-1.0; 3], &device);
    let loss = orpo(leaf.clone(), other, 0.1);
    let mut gradients = loss.sum().backward();
    let gradient = host(leaf.grad_remove(&mut gradients).expect("tracked"));
    assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
}

#[test]
fn the_weight_of_a_sampled_pair_is_about_one_and_clamps() {
    // a = −1 − (−1) = 0 on both sides.
    assert_eq!(wpo_weight(&[(-1.0, -1.0); 3], &[(-2.0, -2.0)], None), 1.0);
    // ā_w = (−1 + 2)/1 = 1, ā_l = −0.5
    let weight = |clamp| wpo_weight(&[(-1.0, -2.0)], &[(-2.5, -2.0)], clamp);
    assert!((weight(None) - 0.5f64.exp()).abs() < 1e-12);
    assert_eq!(weight(Some(1.0)), 1.0);
}

#[test]
fn other_divergences_agree_with_plain_dpo_near_the_reference() {
    // f′ has slope 1 at a ratio of 1 under reverse KL, forward KL and alpha; ½ under JS.
    for (divergence, slope) in [
        (FDivergence::ReverseKl, 1.0),
        (FDivergence::ForwardKl, 1.0),
        (FDivergence::JsDivergence, 0.5),
        (FDivergence::AlphaDivergence(0.5), 1.0),
    ] {
        let scores = host(divergence_scores(tensor(&[0.01, -0.01]), divergence));
        let got = (scores[0] - scores[1]) / 0.02;
        assert!((got - slope).abs() < 1e-3, "{divergence:?}: {got}");
    }
}
