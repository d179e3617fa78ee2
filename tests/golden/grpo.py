"""What it makes: grpo.json, the numbers of GRPO's formulas (TRL's conventions) in float64: advantages, losses with their gradients, and
four optimizer steps on models/gemma2 and models/qwen3.

Versions: torch 2.15.0, transformers 5.23.0.  Seed: SEED below.
How to run: python grpo.py   (after models.py; under a minute)

Notation: l_t, lold_t, lref_t are the log-probabilities of the t-th completion token under the policy, the policy that sampled it and
the reference, all at the sampling temperature: log_softmax(z / temperature), z after the final soft-cap; m_t in {0, 1} is the mask.

Advantage of sample i of group g, with r its reward, mean and std over the group (std: n - 1 in the denominator):
    group:  A_i = (r_i - mean_g) / (std_g + 1e-4)
    batch:  A_i = (r_i - mean_g) / (std of all rewards of the batch + 1e-4)
    none:   A_i =  r_i - mean_g
Loss of a token, with rho_t = exp(l_t - lold_t):
    L_t = -min(rho_t A, clip(rho_t, 1 - epsilon, 1 + epsilon_high) A) + beta k_t,   k_t = exp(lref_t - l_t) - (lref_t - l_t) - 1
Loss of a batch of B completions:
    grpo:     mean over i of  [ sum_t m_t L_t / max(1, sum_t m_t) ]
    dr_grpo:  sum m L / (B * max_completion_length)
    dapo:     sum m L / max(1, N),  N = the unmasked tokens of the whole generation batch
A truncated completion under mask_truncated_completions has m = 0 throughout: it still counts in B and in its group's mean and std.
Metrics, each a mean over the unmasked tokens of the batch, sum m x / max(1, sum m): kl of k_t; clip_ratio/low_mean of
[rho_t < 1 - epsilon and A < 0]; clip_ratio/high_mean of [rho_t > 1 + epsilon_high and A > 0]; clip_ratio/region_mean of either.
"""

import json
import os

import torch
import transformers

from in_double import InDouble, assert_no_float32
from models import FAMILIES, load

SEED = 4243
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    values = {
        "made_by": "grpo.py",
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "seed": SEED,
        "advantages": advantage_cases(),
        "losses": loss_cases(),
        "steps": {family: step_case(family) for family in ("gemma2", "qwen3")},
    }
    with open(f"{HERE}/grpo.json", "w") as file:
        json.dump(values, file, indent=1)
        file.write("\n")
    for family, case in values["steps"].items():
        print(family, case["float32_error"], [(round(s["loss"], 6), round(s["grad_norm"], 4), round(s["clip_ratio/region_mean"], 3)) for s in case["steps"]])
        print("   least distance of a ratio from a clip bound:", case["least_distance_to_clip"])


# ------------------------------------------------------------------------------------------------------------------- the formulas


def advantages_of(rewards, num_generations, scale_rewards):
    groups = rewards.view(-1, num_generations)
    centred = (groups - groups.mean(1, keepdim=True)).flatten()
    if scale_rewards == "group":
        return centred / (groups.std(1).repeat_interleave(num_generations) + 1e-4)
    if scale_rewards == "batch":
        return centred / (rewards.std() + 1e-4)
    assert scale_rewards == "none"
    return centred


def grpo_loss(logprobs, old_logprobs, ref_logprobs, mask, advantages, loss_type, beta, epsilon, epsilon_high, max_completion_length):
    """Lists of one tensor a completion (they are ragged); gives the loss, its denominator and the metrics."""
    token_losses, kls, low, high = [], [], [], []
    for i, l in enumerate(logprobs):
        ratio, advantage = torch.exp(l - old_logprobs[i]), advantages[i]
        clipped = torch.clamp(ratio, 1 - epsilon, 1 + epsilon_high)
        token_loss = -torch.min(ratio * advantage, clipped * advantage)
        kl = torch.zeros_like(l)
        if beta != 0.0:
            kl = torch.exp(ref_logprobs[i] - l) - (ref_logprobs[i] - l) - 1
            token_loss = token_loss + beta * kl
        token_losses.append(token_loss)
        kls.append(kl.detach())
        low.append(((ratio < 1 - epsilon) & (advantage < 0)).to(l.dtype))
        high.append(((ratio > 1 + epsilon_high) & (advantage > 0)).to(l.dtype))

    num_tokens = torch.cat(mask).sum()
    if loss_type == "grpo":
        denominator = [m.sum().clamp(min=1.0).item() for m in mask]
        loss = torch.stack([(x * m).sum() / d for x, m, d in zip(token_losses, mask, denominator)]).mean()
    else:
        denominator = {"dr_grpo": float(len(mask) * max_completion_length), "dapo": num_tokens.clamp(min=1.0).item()}[loss_type]
        loss = sum((x * m).sum() for x, m in zip(token_losses, mask)) / denominator

    def masked_mean(xs):
        return (sum((x * m).sum() for x, m in zip(xs, mask)) / num_tokens.clamp(min=1.0)).item()

    metrics = {
        "clip_ratio/low_mean": masked_mean(low),
        "clip_ratio/high_mean": masked_mean(high),
        "clip_ratio/region_mean": masked_mean([a + b for a, b in zip(low, high)]),
    }
    if beta != 0.0:
        metrics["kl"] = masked_mean(kls)
    return loss, denominator, metrics


# ------------------------------------------------------------------------------------------------------------- advantages and losses


def advantage_cases():
    batches = {
        "two groups of four": ([1.0, 0.0, 0.5, 0.25, 0.0, 2.0, 2.0, 0.5], 4),
        "a group without variance": ([1.0, 0.0, 1.0, 0.7, 0.7, 0.7, -3.0, 2.5, 0.1], 3),
        "no variance at all": ([0.3, 0.3, 0.3, 0.3], 2),
        "one right in eight": ([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], 8),
        "groups of two, large rewards": ([1000.0, 1001.0, -5.0, 5.0], 2),
    }
    cases = []
    for name, (rewards, num_generations) in batches.items():
        groups = torch.tensor(rewards, dtype=torch.float64).view(-1, num_generations)
        for scale_rewards in ("group", "batch", "none"):
            cases.append({
                "name": name, "rewards": rewards, "num_generations": num_generations, "scale_rewards": scale_rewards,
                "advantages": advantages_of(groups.flatten(), num_generations, scale_rewards).tolist(),
                "frac_reward_zero_std": (groups.std(1).abs() < 1e-8).double().mean().item(),
            })  # fmt: skip
    return cases


# Six completions of ragged lengths; the ratios lie on both sides of every clip bound used, for both signs of the advantage.
RATIOS = [
    [0.55, 0.85, 1.0, 1.15, 1.25, 1.45, 2.5],  # A > 0
    [0.4, 0.75, 0.95, 1.05, 1.35, 3.0],  # A < 0
    [1.0, 0.5, 1.9],  # truncated: wholly masked
    [1.6, 0.6, 1.01, 0.99],  # A = 0
    [0.7],  # A < 0, one token
    [1.2999, 0.82, 1.1, 0.3, 1.7],  # A > 0, a hole in its mask
]
MASK = [[1] * 7, [1] * 6, [0] * 3, [1] * 4, [1], [1, 1, 0, 1, 1]]
ADVANTAGES = [1.3, -0.8, 2.0, 0.0, -1.7, 0.45]


def loss_cases():
    generator = torch.Generator().manual_seed(SEED)
    old = [[round(-3.0 * torch.rand((), generator=generator, dtype=torch.float64).item() - 0.01, 6) for _ in row] for row in RATIOS]
    new = [[l + torch.tensor(r, dtype=torch.float64).log().item() for l, r in zip(*rows)] for rows in zip(old, RATIOS)]
    ref = [[round(l + 0.4 * torch.randn((), generator=generator, dtype=torch.float64).item(), 6) for l in row] for row in old]
    nothing = [[0] * len(row) for row in RATIOS]
    settings = [
        (loss_type, beta, epsilon, epsilon_high)
        for loss_type in ("grpo", "dapo", "dr_grpo")
        for beta in (0.0, 0.04)
        for epsilon, epsilon_high in ((0.2, 0.28), (0.1, 0.5))
    ]
    cases = []
    for name, logprobs, mask in [("ratios around the clip bounds", new, MASK), ("on policy", old, MASK), ("all masked", new, nothing)]:
        for loss_type, beta, epsilon, epsilon_high in settings:
            if name != "ratios around the clip bounds" and epsilon != 0.2:
                continue
            leaves = [torch.tensor(row, dtype=torch.float64, requires_grad=True) for row in logprobs]
            fixed = {key: [torch.tensor(row, dtype=torch.float64) for row in rows] for key, rows in (("old", old), ("ref", ref), ("mask", mask))}
            how = {"loss_type": loss_type, "beta": beta, "epsilon": epsilon, "epsilon_high": epsilon_high, "max_completion_length": 8}
            loss, denominator, metrics = grpo_loss(leaves, fixed["old"], fixed["ref"], fixed["mask"], ADVANTAGES, **how)
            loss.backward()
            cases.append({
                "name": name, **how, "logprobs": logprobs, "old_logprobs": old, "ref_logprobs": ref, "mask": mask, "advantages": ADVANTAGES,
                "denominator": denominator, "loss": loss.item(), "gradient": [leaf.grad.tolist() for leaf in leaves], **metrics,
            })  # fmt: skip
    return cases


# ---------------------------------------------------------------------------------------------------------------- optimizer steps

REWARDS = [1.0, 0.0, 0.5, 0.25, 0.0, 2.0, 2.0, 0.5]
HOW = {
    "num_generations": 4, "scale_rewards": "group", "temperature": 0.7, "max_completion_length": 12, "loss_type": "dapo", "beta": 0.0, "epsilon": 0.2, "epsilon_high": 0.28,
    "num_iterations": 2, "learning_rate": 1e-3, "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-8, "weight_decay": 0.1, "max_grad_norm": 1.0,
}  # fmt: skip
PROMPT_LENGTHS = [3, 7]
COMPLETION_LENGTHS = [5, 1, 9, 3, 8, 2, 12, 6]


def step_case(family):
    """Four steps: old log-probs taken before the first serve steps 0 and 1, taken again before the third they serve steps 2 and 3.

    Each step: loss and gradients over all eight completions; norm = sqrt(sum of g^2 over every parameter); where norm exceeds 1, all
    gradients times 1 / (norm + 1e-6), as torch's clip_grad_norm_; then torch.optim.AdamW, the decay on every parameter alike.
    """
    rows = sampled_rows(family)
    double = run_steps(family, rows, torch.float64)
    single = run_steps(family, rows, torch.float32)
    pairs = list(zip(single["steps"], double["steps"]))
    return {
        **HOW,
        "rows": rows,
        "rewards": REWARDS,
        "advantages": advantages_of(torch.tensor(REWARDS, dtype=torch.float64), HOW["num_generations"], HOW["scale_rewards"]).tolist(),
        **double,
        "float32_error": {
            "logprobs": max(abs(a - b) for s, d in pairs for x, y in zip(s["logprobs"], d["logprobs"]) for a, b in zip(x, y)),
            "loss": max(abs(s["loss"] - d["loss"]) for s, d in pairs),
            "grad_norm_relative": max(abs(s["grad_norm"] / d["grad_norm"] - 1) for s, d in pairs),
        },
    }


@torch.no_grad()
def sampled_rows(family):
    """Prompts of random ids; completions drawn from the model itself, so that their log-probs are of an ordinary size."""
    generator = torch.Generator().manual_seed(SEED + list(FAMILIES).index(family))
    model, rows = load(family, torch.float64), []
    first = [FAMILIES[family]["bos_token_id"]] if family.startswith("gemma") else []
    prompts = [first + torch.randint(5, 300, (length - len(first),), generator=generator).tolist() for length in PROMPT_LENGTHS]
    for i, length in enumerate(COMPLETION_LENGTHS):
        prompt, completion = prompts[i // HOW["num_generations"]], []
        for _ in range(length):
            with InDouble():
                logits = model(torch.tensor([prompt + completion]), use_cache=False).logits[0, -1]
            completion.append(torch.multinomial((logits / HOW["temperature"]).softmax(-1), 1, generator=generator).item())
        rows.append({"prompt_ids": prompt, "completion_ids": completion})
    return rows


def run_steps(family, rows, dtype):
    if dtype == torch.float64:
        model = load(family, dtype)
        with InDouble(), assert_no_float32():
            return trained(model, rows, dtype)
    return trained(load(family), rows, dtype)


def trained(model, rows, dtype):
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=HOW["learning_rate"], betas=(HOW["adam_beta1"], HOW["adam_beta2"]), eps=HOW["adam_epsilon"],
        weight_decay=HOW["weight_decay"], foreach=False,
    )  # fmt: skip
    advantages = advantages_of(torch.tensor(REWARDS, dtype=dtype), HOW["num_generations"], HOW["scale_rewards"])
    mask = [torch.ones(len(row["completion_ids"]), dtype=dtype) for row in rows]
    steps, old, nearest = [], None, 1.0
    for step in range(4):
        logprobs = [completion_logprobs(model, row) for row in rows]
        if step % HOW["num_iterations"] == 0:
            old = [l.detach() for l in logprobs]
        loss, denominator, metrics = grpo_loss(
            logprobs, old, None, mask, advantages, HOW["loss_type"], HOW["beta"], HOW["epsilon"], HOW["epsilon_high"], HOW["max_completion_length"],
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), HOW["max_grad_norm"], foreach=False)
        optimizer.step()
        ratios = torch.cat([torch.exp(l.detach() - o) for l, o in zip(logprobs, old)])
        for bound in (1 - HOW["epsilon"], 1 + HOW["epsilon_high"]):
            nearest = min(nearest, (ratios - bound).abs().min().item())
        steps.append({
            "loss": loss.item(), "grad_norm": grad_norm.item(), "denominator": denominator, **metrics,
            "ratio_min": ratios.min().item(), "ratio_max": ratios.max().item(), "logprobs": [l.tolist() for l in logprobs],
        })  # fmt: skip
    final = [completion_logprobs(model, row).tolist() for row in rows]
    return {"steps": steps, "logprobs_after": final, "least_distance_to_clip": nearest}


def completion_logprobs(model, row):
    ids = torch.tensor(row["prompt_ids"] + row["completion_ids"])
    first = len(row["prompt_ids"])
    logits = model(ids[None], use_cache=False).logits[0, first - 1 : -1]
    return (logits / HOW["temperature"]).log_softmax(-1).gather(-1, ids[first:, None])[:, 0]


if __name__ == "__main__":
    main()
