use burn::tensor::{Int, Tensor, TensorData, activation};

use super::LogprobsOptions;
use crate::rms_norm::reference::upcast;

/// The definition, in plain tensor operations: the whole `[tokens, vocab]`, in float32 after the
/// product. Returns `[tokens, COLUMNS]`, constant in the last two.
pub fn linear_logprobs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: &[u32],
    options: LogprobsOptions,
) -> Tensor<2> {
    let [tokens, _] = hidden.dims();
    let logits = upcast(hidden.matmul(head.transpose()));
    let logits = match options.softcap {
        Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
        None => logits,
    };
    let logits = if options.temperature == 1.0 {
        logits
    } else {
        logits.div_scalar(options.temperature)
    };
    let targets: Vec<i32> = targets.iter().map(|&target| target as i32).collect();
    let targets = TensorData::new(targets, [tokens, 1]);
    let targets = Tensor::<2, Int>::from_data(targets, &logits.device());
    let logprobs = activation::log_softmax(logits.clone(), 1);
    let logprob = logprobs.clone().gather(1, targets.clone());
    let target_logit = logits.clone().gather(1, targets);
    let logsumexp = target_logit.clone() - logprob.clone();
    let p = logprobs.clone().exp();
    let entropy = -(p.clone() * logprobs).sum_dim(1);
    let log_collision = p.powf_scalar(2.0).sum_dim(1).log().detach();
    let correct = target_logit.greater_equal(logits.clone().max_dim(1));
    let correct = correct.float().cast(logprob.dtype());
    let mean_logit = logits.mean_dim(1);
    let columns = vec![
        logprob,
        logsumexp,
        entropy,
        mean_logit,
        log_collision,
        correct,
    ];
    Tensor::cat(columns, 1)
}
