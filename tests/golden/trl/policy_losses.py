"""What it makes: policy_losses.json, the losses of TRL's GRPO and RLOO trainers, their gradients by every per-token log-prob, and advantages.

The trainers' own `_compute_loss` runs on stand-ins: `_get_per_token_logps_and_entropies` returns given leaf tensors. The advantages
come from the trainers' own `_generate_and_score_completions`, with the rewards given and nothing generated.

Versions: torch 2.15.0, transformers 5.23.0, trl 1.16.0.  Seed: SEED below.
How to run: python policy_losses.py   (seconds)
Everything is float64 (TRL's `.float()` and `dtype=torch.float32` answered in float64); the raw rewards are exact in float32 as well.
`num_items` is what TRL calls num_items_in_batch: the unmasked completion tokens of the whole generation batch.
"""

import warnings
from collections import defaultdict
from types import SimpleNamespace

import torch
from trl import GRPOTrainer, RLOOTrainer

from trl_stand_ins import VERSIONS, Accelerator, InDouble, bare, metrics_of, write

SEED = 4272
LENGTHS = [3, 8, 5, 6, 4, 7, 8, 3]  # eight completions, two groups of four
MAX_COMPLETION_LENGTH = 10
LOSS_TYPES = ["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"]
ADVANTAGES = [1.25, -0.75, 0.5, -1.0, 0.0, 1.5, -1.25, -0.25]


def main():
    torch.set_num_threads(1)
    batches = {"plain": make_batch(), "masked": make_batch(masked=True)}
    with InDouble():
        losses = grpo_cases(batches)
        values = {
            "made_by": "policy_losses.py",
            "versions": VERSIONS,
            "seed": SEED,
            "dtype": "float64",
            "max_completion_length": MAX_COMPLETION_LENGTH,
            "batches": batches,
            "cases": losses,
            "micro_batches": micro_batch_cases(batches["plain"]),
            "rloo": rloo_cases(batches),
            "advantages": advantage_cases(),
            "rloo_advantages": rloo_advantage_cases(),
        }
    for case in values["cases"] + values["rloo"] + values["micro_batches"]:
        print({k: v for k, v in case.items() if not isinstance(v, (list, dict))})
    write("policy_losses.json", values)


# ------------------------------------------------------------------------------------------------------------------------- inputs


def make_batch(masked=False):
    """Ragged lists. The ratios lie on both sides of every clip bound for both signs; `masked` has a hole and a completion wholly masked."""
    generator = torch.Generator().manual_seed(SEED)

    def normal(scale, n):
        return scale * torch.randn(n, generator=generator, dtype=torch.float64)

    old = [-(normal(1.0, n).abs() + 0.02) for n in LENGTHS]
    new = [torch.minimum(l + normal(0.4, len(l)), torch.tensor(-1e-3)) for l in old]
    ref = [torch.minimum(l + normal(0.3, len(l)), torch.tensor(-1e-3)) for l in old]
    # Mean log-ratios: three near one for GSPO's narrow bounds, two between 0.2 and 0.28 (the mean for GSPO, the sum for RLOO), one low.
    for i, move in ((3, 3e-4), (5, 2e-3), (6, -2e-3), (0, 0.22), (2, 0.22 / LENGTHS[2]), (1, -0.3)):
        new[i] = new[i] - (new[i] - old[i]).mean() + move
        assert new[i].max() < 0, i
    ratio = torch.exp(torch.cat(new) - torch.cat(old))
    signs = torch.cat([torch.full((n,), a) for n, a in zip(LENGTHS, ADVANTAGES)])
    for sign in (1, -1):
        here = ratio[signs * sign > 0]
        assert (here < 0.8).any() and (here > 1.28).any() and (here > 1.5).any(), "a bound is never crossed"
    for bound in (0.8, 1.2, 1.28, 1.5):
        assert (ratio - bound).abs().min() > 1e-4
    mask = [[1] * n for n in LENGTHS]
    if masked:
        mask[3] = [0] * LENGTHS[3]
        mask[6] = [1, 1, 0, 0, 1, 1, 1, 1]
    return {
        "logprobs": [x.tolist() for x in new],
        "old_logprobs": [x.tolist() for x in old],
        "reference_logprobs": [x.tolist() for x in ref],
        "entropies": [(normal(0.8, n).abs() + 0.01).tolist() for n in LENGTHS],
        "sampler_ratios": [torch.exp(normal(0.1, n)).tolist() for n in LENGTHS],  # engine correction, per token
        "mask": mask,
        "advantages": ADVANTAGES,
        "num_items": sum(map(sum, mask)),
    }


def padded(lists, dtype=torch.float64):
    width = max(map(len, lists))
    return torch.tensor([row + [0] * (width - len(row)) for row in lists], dtype=dtype)


def unpadded(grads, lists):
    for grad, row in zip(grads, lists):
        assert not grad[len(row) :].any(), "gradient in the padding"
    return [grad[: len(row)].tolist() for grad, row in zip(grads, lists)]


# --------------------------------------------------------------------------------------------------------------------------- GRPO


def grpo(batch, accumulation=1, steps_per_generation=1, num_items=None, on_policy=False, **options):
    """TRL's loss of one micro-batch, and the leaves after backward."""
    s = dict(loss_type="dapo", beta=0.0, epsilon=0.2, epsilon_high=0.28, importance_sampling_level="token", delta=None, use_bias_correction_kl=False,
             off_policy_mask_threshold=None, top_entropy_quantile=1.0, entropy_coef=0.0, sapo_temperature_pos=1.0, sapo_temperature_neg=1.05,
             vespo_k_pos=2.0, vespo_lambda_pos=3.0, vespo_k_neg=3.0, vespo_lambda_neg=2.0, sampler_correction=False)  # fmt: skip
    assert not options.keys() - s.keys(), options.keys() - s.keys()
    s |= options
    mask = padded(batch["mask"], torch.long)
    leaves = padded(batch["logprobs"]).requires_grad_()
    entropies = padded(batch["entropies"]).requires_grad_()
    trainer = bare(
        GRPOTrainer, loss_type=s["loss_type"], beta=s["beta"], epsilon_low=s["epsilon"], epsilon_high=s["epsilon_high"],
        importance_sampling_level=s["importance_sampling_level"], off_policy_mask_threshold=s["off_policy_mask_threshold"],
        top_entropy_quantile=s["top_entropy_quantile"], use_vllm=s["sampler_correction"], vllm_importance_sampling_correction=True,
        max_completion_length=MAX_COMPLETION_LENGTH, current_gradient_accumulation_steps=accumulation,
        entropy_coef=s["entropy_coef"], _entropy_bonus_enabled=s["entropy_coef"] != 0.0, use_adaptive_entropy=False,
        args=SimpleNamespace(steps_per_generation=steps_per_generation, **{k: s[k] for k in s if k.startswith(("sapo", "vespo", "delta", "use_bias"))}),
        _get_per_token_logps_and_entropies=lambda *a, **k: (leaves, entropies, None),
    )  # fmt: skip
    inputs = {
        "prompt_ids": torch.ones(len(mask), 2, dtype=torch.long), "prompt_mask": torch.ones(len(mask), 2, dtype=torch.long),
        "completion_ids": torch.ones_like(mask), "completion_mask": mask, "advantages": torch.tensor(batch["advantages"]),
        "num_items_in_batch": torch.tensor(num_items or batch["num_items"]), "ref_per_token_logps": padded(batch["reference_logprobs"]),
    }  # fmt: skip
    if not on_policy:
        inputs["old_per_token_logps"] = padded(batch["old_logprobs"])
    if s["sampler_correction"]:
        inputs["importance_sampling_ratio"] = torch.where(mask == 1, padded(batch["sampler_ratios"]), 1.0)
    loss = trainer._compute_loss(None, inputs)
    loss.backward()
    return trainer, loss.item(), leaves, entropies, s


def grpo_case(batches, name, **options):
    batch = batches[name]
    trainer, loss, leaves, entropies, settings = grpo(batch, **options)
    case = {"batch": name, "on_policy": False, **settings, **options, "loss": loss, "gradient": unpadded(leaves.grad, batch["logprobs"])}
    if options.get("entropy_coef"):
        case["entropy_gradient"] = unpadded(entropies.grad, batch["entropies"])
    case["metrics"] = {k: v for k, v in metrics_of(trainer).items() if v == v}
    return case


def grpo_cases(batches):
    cases = []
    add = lambda name, **options: cases.append(grpo_case(batches, name, **options))
    for beta in (0.0, 0.04):
        for loss_type in LOSS_TYPES:
            bounds = [dict(epsilon_high=1.5), dict(epsilon_high=5.0)] if loss_type == "cispo" else [dict(epsilon=0.2, epsilon_high=0.28)]
            for bound in bounds:
                for name in ("plain", "masked"):
                    add(name, loss_type=loss_type, beta=beta, **bound)
    for loss_type in ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "sapo"):
        for beta in (0.0, 0.04):
            for epsilon, epsilon_high in ((3e-4, 4e-4), (0.2, 0.2), (0.2, 0.28)):
                if loss_type != "sapo" or epsilon_high == 0.28:
                    add("plain", loss_type=loss_type, beta=beta, importance_sampling_level="sequence", epsilon=epsilon, epsilon_high=epsilon_high)
    for loss_type in ("grpo", "luspo"):
        add("masked", loss_type=loss_type, beta=0.04, importance_sampling_level="sequence", epsilon=3e-4, epsilon_high=4e-4)
    add("plain", loss_type="cispo", beta=0.0, importance_sampling_level="sequence", epsilon_high=1.5)
    for loss_type in ("grpo", "dapo"):
        add("plain", loss_type=loss_type, epsilon=0.2, epsilon_high=0.2)
        add("plain", loss_type=loss_type, delta=1.5)
        add("plain", loss_type=loss_type, on_policy=True)
        add("plain", loss_type=loss_type, on_policy=True, beta=0.04)
        for level in ("token", "sequence"):
            add("plain", loss_type=loss_type, beta=0.04, use_bias_correction_kl=True, importance_sampling_level=level)
        for threshold in (0.05, 0.0, -0.05):
            add("plain", loss_type=loss_type, off_policy_mask_threshold=threshold)
        add("masked", loss_type=loss_type, off_policy_mask_threshold=0.0, beta=0.04)
        for name in ("plain", "masked"):
            add(name, loss_type=loss_type, top_entropy_quantile=0.2)
            add(name, loss_type=loss_type, top_entropy_quantile=0.2, beta=0.04)
        add("plain", loss_type=loss_type, sampler_correction=True, beta=0.04)
        add("masked", loss_type=loss_type, entropy_coef=0.01)
        add("plain", loss_type=loss_type, entropy_coef=0.01, top_entropy_quantile=0.2)
    add("plain", loss_type="grpo", delta=1.5, beta=0.04, use_bias_correction_kl=True)
    add("plain", loss_type="vespo", sampler_correction=True)
    add("plain", loss_type="sapo", sapo_temperature_pos=2.0, sapo_temperature_neg=3.0)
    return cases


def micro_batch_cases(batch):
    """The batch in two micro-batches, one a group; the gradients are of the accumulated loss. `steps_per_generation` 4 with accumulation
    2 means that these eight completions are half of a generation batch: its other half is counted as long as this one."""
    cases = []
    for steps_per_generation in (2, 4):
        for loss_type in LOSS_TYPES:
            num_items = batch["num_items"] * steps_per_generation // 2
            epsilon_high = 1.5 if loss_type == "cispo" else 0.28
            losses, gradient = [], []
            for half in (slice(0, 4), slice(4, 8)):
                part = {k: v[half] if isinstance(v, list) else v for k, v in batch.items()}
                _, loss, leaves, _, _ = grpo(part, 2, steps_per_generation, num_items, loss_type=loss_type, beta=0.04, epsilon_high=epsilon_high)
                losses.append(loss)
                gradient += unpadded(leaves.grad, part["logprobs"])
            cases.append({"loss_type": loss_type, "beta": 0.04, "epsilon": 0.2, "epsilon_high": epsilon_high, "gradient_accumulation_steps": 2,
                          "steps_per_generation": steps_per_generation, "num_items": num_items, "micro_losses": losses, "gradient": gradient})  # fmt: skip
    return cases


# --------------------------------------------------------------------------------------------------------------------------- RLOO


def rloo_cases(batches):
    cases = []
    for name, batch in batches.items():
        for epsilon, epsilon_high in ((0.2, 0.2), (0.2, 0.28)):
            mask = padded(batch["mask"], torch.long)
            leaves = padded(batch["logprobs"]).requires_grad_()
            trainer = bare(RLOOTrainer, epsilon_low=epsilon, epsilon_high=epsilon_high,
                           _get_per_token_logps_and_entropies=lambda *a, **k: (leaves, padded(batch["entropies"]), None))  # fmt: skip
            loss = trainer._compute_loss(None, {
                "prompt_ids": torch.ones(8, 2, dtype=torch.long), "prompt_mask": torch.ones(8, 2, dtype=torch.long),
                "completion_ids": torch.ones_like(mask), "completion_mask": mask, "advantages": torch.tensor(batch["advantages"]),
                "old_logps": (padded(batch["old_logprobs"]) * mask).sum(1),
            })  # fmt: skip
            loss.backward()
            cases.append({"batch": name, "loss_type": "rloo", "epsilon": epsilon, "epsilon_high": epsilon_high, "loss": loss.item(),
                          "gradient": unpadded(leaves.grad, batch["logprobs"]), "metrics": metrics_of(trainer)})  # fmt: skip
    return cases


# --------------------------------------------------------------------------------------------------------------------- advantages

REWARDS = {
    "two groups of four": (4, [[1.0], [0.0], [0.5], [0.25], [0.0], [2.0], [2.0], [0.5]]),
    "a group without variance": (3, [[1.0], [0.0], [1.0], [0.75], [0.75], [0.75], [-3.0], [2.5], [0.125]]),
    "no variance at all": (2, [[0.25], [0.25], [0.25], [0.25]]),
    "a reward that is none": (4, [[1.0], [None], [0.5], [0.25], [0.0], [2.0], [2.0], [0.5]]),
    "a group with one reward": (4, [[None], [None], [0.5], [None], [0.0], [2.0], [2.0], [0.5]]),
    "two rewards": (4, [[1.0, 10.0], [0.0, 20.0], [0.5, 5.0], [0.25, 0.0], [0.0, 8.0], [2.0, 8.0], [2.0, 8.0], [0.5, 8.0]]),
    "two rewards, some none": (4, [[1.0, 10.0], [0.0, None], [None, None], [0.25, 0.0], [0.0, 8.0], [None, 4.0], [2.0, 2.0], [0.5, 1.0]]),
}


def weights_of(rewards):
    return [[1.0], [0.5]] if len(rewards[0]) == 1 else [[1.0, 1.0], [0.75, 0.125]]


def scored(trainer_class, rewards, num_generations, reward_weights, old=None, reference=None, mask=None, beta=0.0, **attributes):
    count = len(rewards)
    lengths = [sum(row) for row in mask] if mask else [1] * count
    completions = [[5] * n for n in lengths]
    policy, ref_model = SimpleNamespace(training=True), object()
    given = torch.tensor([[float("nan") if r is None else r for r in row] for row in rewards], dtype=torch.float64)
    generated = ([[7]] * count, completions, None, ["x"] * count, None, {}, None, None)
    if trainer_class is RLOOTrainer:
        generated = (generated[0], generated[1], generated[3])

    def logps(model, *args, **kwargs):
        return (padded(reference) if model is ref_model else padded(old), None, None)

    policy.is_gradient_checkpointing = False
    trainer = bare(
        trainer_class, model=policy, ref_model=ref_model, environment_factories=None, environments=None, tools=None, use_vllm=False, beta=beta, pad_to_multiple_of=None,
        _tokenizer=SimpleNamespace(pad_token_id=0), mask_truncated_completions=False, num_iterations=1, reward_funcs=[None] * len(rewards[0]),
        reward_func_names=[f"r{i}" for i in range(len(rewards[0]))], reward_weights=torch.tensor(reward_weights, dtype=torch.float64),
        num_generations=num_generations, _pending_extra_logs={}, _pending_metrics={},
        _logs={"prompt": [], "completion": [], "rewards": defaultdict(list), "advantages": [], "extra": defaultdict(list)},
        args=SimpleNamespace(per_device_train_batch_size=count, steps_per_generation=1, gradient_accumulation_steps=1, gradient_checkpointing_kwargs=None),
        _generate=lambda prompts: generated, _calculate_rewards=lambda *a: given.clone(), _get_per_token_logps_and_entropies=logps, **attributes,
    )  # fmt: skip
    out = trainer._generate_and_score_completions([{"prompt": "p"}] * count)
    return out["advantages"].tolist(), {k: v for k, v in metrics_of(trainer).items() if k in ("reward", "reward_std", "frac_reward_zero_std", "kl")}


def advantage_cases():
    cases = []
    for name, (num_generations, rewards) in REWARDS.items():
        for reward_weights in weights_of(rewards):
            for aggregation, scales in (("sum_then_normalize", ("group", "batch", "none")), ("normalize_then_sum", ("group",))):
                for scale_rewards in scales:
                    advantages, metrics = scored(GRPOTrainer, rewards, num_generations, reward_weights, scale_rewards=scale_rewards,
                                                 multi_objective_aggregation=aggregation)  # fmt: skip
                    cases.append({"name": name, "rewards": rewards, "num_generations": num_generations, "reward_weights": reward_weights,
                                  "multi_objective_aggregation": aggregation, "scale_rewards": scale_rewards, "advantages": advantages, "metrics": metrics})  # fmt: skip
    return cases


def rloo_advantage_cases():
    batch = make_batch()
    cases = []
    for name, (num_generations, rewards) in REWARDS.items():
        for reward_weights in weights_of(rewards):
            for beta in (0.0, 0.05) if len(rewards) == 8 else (0.0,):
                for normalize in (False, True):
                    for clip in (None, (-1.0, 1.0)):
                        advantages, metrics = scored(
                            RLOOTrainer, rewards, num_generations, reward_weights, batch["old_logprobs"] if len(rewards) == 8 else [[0.0]] * len(rewards),
                            batch["reference_logprobs"], batch["mask"] if len(rewards) == 8 else None, normalize_advantages=normalize, reward_clip_range=clip, beta=beta,
                        )  # fmt: skip
                        cases.append({"name": name, "rewards": rewards, "num_generations": num_generations, "reward_weights": reward_weights, "beta": beta,
                                      "normalize_advantages": normalize, "reward_clip_range": clip, "advantages": advantages, "metrics": metrics})  # fmt: skip
    return cases


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
