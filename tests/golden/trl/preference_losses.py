"""What it makes: preference_losses.json, the losses of TRL's DPO, CPO, ORPO and KTO trainers and their gradients by every per-token log-prob.

The trainers' own loss methods run, on stand-ins for model and accelerator: the model's stand-in returns given per-token log-probs
(leaf tensors), so that backward gives the gradient by each of them. CPO and ORPO read logits instead; they get the two logits
[ln(1 - p), ln p] and the label 1, whose log-softmax is ln p and whose gradient by ln p is that of the loss.

Versions: torch 2.15.0, transformers 5.23.0, trl 1.16.0.  Seed: SEED below.
How to run: python preference_losses.py   (seconds)
Everything is float64 (TRL's `.float()` answered in float64 too) but alpha_divergence, which TRL refuses in float64: float32 there.
"""

import math
import warnings
from types import SimpleNamespace

import torch
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from trl_stand_ins import VERSIONS, InDouble, StandIn, bare, metrics_of, write

SEED = 4246
PROMPT = 3  # tokens of each prompt; the first is predicted by nothing
CHOSEN = [3, 7, 5, 9, 4]  # completion tokens of each pair: chosen longer, shorter, as long
REJECTED = [6, 4, 5, 3, 9]
VOCABULARY = 7  # of the random distributions the numbers are drawn from


def main():
    torch.set_num_threads(1)
    pairs = make_pairs()
    values = {
        "made_by": "preference_losses.py",
        "versions": VERSIONS,
        "seed": SEED,
        "dtype": "float64, but float32 where a case says so",
        "pairs": pairs,
        "cases": dpo_cases(pairs),
        "refused": refused(pairs),
        "cpo": cpo_cases(pairs),
        "orpo": orpo_cases(pairs),
        "kto": kto_cases(pairs),
    }
    for name in ("cases", "cpo", "orpo", "kto"):
        for case in values[name]:
            label = {k: v for k, v in case.items() if not isinstance(v, (list, dict)) or k == "loss_type"}
            print(name, label)
    print("refused:", *[f"{r['loss_type']}: {r['error'][:110]}" for r in values["refused"]], sep="\n  ")
    write("preference_losses.json", values)


# ------------------------------------------------------------------------------------------------------------------------- inputs


def make_pairs():
    """Log-probs and log sum p^2 that some distribution over VOCABULARY tokens has; the reference is that policy moved a little."""
    generator = torch.Generator().manual_seed(SEED)

    def draw(lengths, shift):
        logprobs, reference, log_sum_p2 = [], [], []
        for length in lengths:
            logits = 1.5 * torch.randn(length, VOCABULARY, generator=generator, dtype=torch.float64)
            logits[:, 0] += 1.5  # the token that was drawn is likelier than another
            moved = logits + 0.7 * torch.randn(length, VOCABULARY, generator=generator, dtype=torch.float64)
            moved[:, 0] += shift
            logprobs.append(logits.log_softmax(-1)[:, 0].tolist())
            reference.append(moved.log_softmax(-1)[:, 0].tolist())
            log_sum_p2.append((2 * logits.log_softmax(-1)).logsumexp(-1).tolist())
        return logprobs, reference, log_sum_p2

    chosen, reference_chosen, chosen_p2 = draw(CHOSEN, -0.2)
    rejected, reference_rejected, rejected_p2 = draw(REJECTED, 0.2)
    assert_telling(chosen, rejected, reference_chosen, reference_rejected, chosen_p2, rejected_p2)
    prompt, _, _ = draw([PROMPT - 1] * len(CHOSEN), 0.0)  # ORPO's NLL is over the prompt as well
    # KTO's mismatched pairs: the prompt of example i with the completion of example i - 1 (the first with the last's).
    completions = CHOSEN + REJECTED
    kl, reference_kl, _ = draw(completions[-1:] + completions[:-1], -0.2)
    return {
        "chosen_logprobs": chosen, "rejected_logprobs": rejected,
        "reference_chosen_logprobs": reference_chosen, "reference_rejected_logprobs": reference_rejected,
        "chosen_log_sum_p2": chosen_p2, "rejected_log_sum_p2": rejected_p2,
        "chosen_prompt_logprobs": prompt,
        "mismatched_logprobs": kl, "reference_mismatched_logprobs": reference_kl,
    }  # fmt: skip


def assert_telling(chosen, rejected, reference_chosen, reference_rejected, chosen_p2, rejected_p2):
    """Sorting must change something for aot, and WPO's weights lie on both sides of one."""

    def order(a, b):
        differences = [sum(x) - sum(y) for x, y in zip(a, b)]
        return sorted(range(len(a)), key=differences.__getitem__)

    assert order(chosen, rejected) != order(reference_chosen, reference_rejected)
    assert order(chosen, reference_chosen) != order(rejected, reference_rejected)
    mean = lambda l, p2: (sum(l) - sum(p2)) / len(l)
    weights = [mean(*w) + mean(*l) for w, l in zip(zip(chosen, chosen_p2), zip(rejected, rejected_p2))]
    assert min(weights) < -0.1 and max(weights) > 0.1, weights


def rows(lists, dtype, before=PROMPT - 1):
    """[B, T - 1] as a model's shifted log-probs: `before` zeros for the prompt, the numbers, zeros to the longest."""
    width = before + max(map(len, lists))
    return torch.tensor([[0.0] * before + row + [0.0] * (width - before - len(row)) for row in lists], dtype=dtype)


def completion_mask(lists):
    width = PROMPT + max(map(len, lists))
    return torch.tensor([[0] * PROMPT + [1] * len(row) + [0] * (width - PROMPT - len(row)) for row in lists])


def masked(logprobs, mask):
    """As TRL's fused head does: zero, and without gradient, where the label is -100."""
    return logprobs.masked_fill(mask[:, 1:] == 0, 0)


def unrows(grads, lists, before=PROMPT - 1):
    for grad, row in zip(grads, lists):
        outside = torch.cat([grad[:before], grad[before + len(row) :]])
        assert not outside.any(), "gradient outside the completion"
    return [grad[before : before + len(row)].tolist() for grad, row in zip(grads, lists)]


# ---------------------------------------------------------------------------------------------------------------------------- DPO


def dpo(pairs, loss_type, dtype=torch.float64, **options):
    both = pairs["chosen_logprobs"] + pairs["rejected_logprobs"]
    settings = dict(beta=0.1, label_smoothing=0.0, use_weighting=False, ld_alpha=None, f_divergence_type="reverse_kl", f_alpha_divergence_coef=0.5,
                    discopop_tau=0.05, loss_weights=None) | options  # fmt: skip
    loss_types = loss_type if isinstance(loss_type, list) else [loss_type]
    leaves = rows(both, dtype).requires_grad_()
    mask = completion_mask(both)
    zeros = torch.zeros_like(leaves)

    def policy(**inputs):
        return SimpleNamespace(log_probs=masked(leaves, mask), log_sum_sq_probs=rows(pairs["chosen_log_sum_p2"] + pairs["rejected_log_sum_p2"], dtype),
                               entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())  # fmt: skip

    def reference(**inputs):
        return SimpleNamespace(log_probs=rows(pairs["reference_chosen_logprobs"] + pairs["reference_rejected_logprobs"], dtype))

    policy, reference = StandIn(policy), StandIn(reference)
    trainer = bare(
        DPOTrainer, model=policy, ref_model=reference, precompute_ref_logps=False, loss_types=loss_types,
        loss_weights=settings["loss_weights"] or [1.0] * len(loss_types),
        args=SimpleNamespace(discopop_tau=settings["discopop_tau"], gradient_checkpointing_kwargs=None),
        **{k: settings[k] for k in ("beta", "label_smoothing", "use_weighting", "ld_alpha", "f_divergence_type", "f_alpha_divergence_coef")},
    )  # fmt: skip
    loss = trainer._compute_loss(policy, {"input_ids": torch.ones_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask}, False)
    loss.backward()
    half = len(both) // 2
    metrics = metrics_of(trainer)
    return {
        "loss_type": loss_type, "beta": settings["beta"], **{k: v for k, v in options.items() if k != "beta"},
        "dtype": str(dtype).split(".")[1], "loss": loss.item(),
        "chosen_gradient": unrows(leaves.grad[:half], both[:half]), "rejected_gradient": unrows(leaves.grad[half:], both[half:]),
        "metrics": {k: v for k, v in metrics.items() if k.startswith(("rewards/", "logps/"))},
    }  # fmt: skip


def dpo_cases(pairs):
    cases = []
    with InDouble():
        for beta in (0.1, 0.5):
            for loss_type in ("sigmoid", "hinge", "ipo", "sigmoid_norm", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down"):
                cases.append(dpo(pairs, loss_type, beta=beta))
            for loss_type in ("robust", "aot", "aot_unpaired"):
                for label_smoothing in (0.0, 0.1):
                    cases.append(dpo(pairs, loss_type, beta=beta, label_smoothing=label_smoothing))
            for label_smoothing in (1e-3, 0.1):  # TRL refuses 0 for exo_pair
                cases.append(dpo(pairs, "exo_pair", beta=beta, label_smoothing=label_smoothing))
            for tau in (0.05, 0.5):
                cases.append(dpo(pairs, "discopop", beta=beta, discopop_tau=tau))
            for divergence in ("forward_kl", "js_divergence"):
                for loss_type in ("sigmoid", "ipo", "sigmoid_norm"):  # the two that divide by lengths see the constants of TRL's f'
                    cases.append(dpo(pairs, loss_type, beta=beta, f_divergence_type=divergence))
        cases.append(dpo(pairs, "sft"))
        cases.append(dpo(pairs, "sigmoid", label_smoothing=0.1))  # label_smoothing does nothing here: same as without
        for loss_type in ("sigmoid", "ipo"):
            cases.append(dpo(pairs, loss_type, ld_alpha=0.4))
        for loss_type in ("sigmoid", "ipo", "sigmoid_norm", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "discopop"):
            cases.append(dpo(pairs, loss_type, use_weighting=True))
        cases.append(dpo(pairs, "sigmoid", beta=0.5, use_weighting=True))
        cases.append(dpo(pairs, "robust", label_smoothing=0.1, use_weighting=True))
        cases.append(dpo(pairs, "exo_pair", label_smoothing=0.1, use_weighting=True))
        cases.append(dpo(pairs, "sigmoid", ld_alpha=0.4, use_weighting=True))
        cases.append(dpo(pairs, ["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0]))
        cases.append(dpo(pairs, ["sigmoid", "ipo"], loss_weights=[0.8, 0.2], use_weighting=True))
    for beta in (0.1, 0.5):
        for loss_type in ("sigmoid", "ipo", "sigmoid_norm"):
            cases.append(dpo(pairs, loss_type, torch.float32, beta=beta, f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.5))
    return cases


def refused(pairs):
    """What TRL's loss code fails on with weighting (aot, aot_unpaired and exo_pair without smoothing its __init__ refuses)."""
    found = []
    for loss_type in ("hinge", "sft", ["sigmoid", "bco_pair", "sft"]):
        try:
            with InDouble():
                dpo(pairs, loss_type, use_weighting=True)
            found.append({"loss_type": loss_type, "use_weighting": True, "error": "none: it runs"})
        except RuntimeError as error:
            found.append({"loss_type": loss_type, "use_weighting": True, "error": str(error).splitlines()[0]})
    try:
        with InDouble():
            dpo(pairs, "sigmoid", f_divergence_type="alpha_divergence")
    except KeyError as error:
        found.append({"loss_type": "sigmoid", "f_divergence_type": "alpha_divergence", "dtype": "float64", "error": f"KeyError {error}"})
    return found


# ---------------------------------------------------------------------------------------------------------------------- CPO, ORPO


def two_logits(leaves):
    """[ln(1 - p), ln p]; where the leaf is 0 (nothing there) a plain [0, 0]."""
    there = leaves.detach() < 0
    safe = torch.where(there, leaves, -1.0)
    logits = torch.stack([torch.log(-torch.expm1(safe)), safe], dim=-1)
    logits = torch.where(there[..., None], logits, 0.0)
    return torch.cat([logits, torch.zeros_like(logits[:, :1])], dim=1)  # the last position predicts nothing


def paired_batch(pairs, with_prompt):
    batch = {}
    for side in ("chosen", "rejected"):
        mask = completion_mask(pairs[f"{side}_logprobs"])
        attention = torch.tensor([[1] * (PROMPT + len(row)) + [0] * (mask.shape[1] - PROMPT - len(row)) for row in pairs[f"{side}_logprobs"]])
        batch[f"{side}_input_ids"] = torch.ones_like(mask)
        batch[f"{side}_attention_mask"] = attention
        batch[f"{side}_labels"] = torch.where(mask == 1, 1, -100)
    both = pairs["chosen_logprobs"] + pairs["rejected_logprobs"]
    leaves = rows(both, torch.float64)
    if with_prompt:  # the rejected prompt's log-probs are the same, and nothing reads them
        for i, row in enumerate(pairs["chosen_prompt_logprobs"] * 2):
            leaves[i, : PROMPT - 1] = torch.tensor(row)
    return batch, leaves.requires_grad_(), both


def with_logits(leaves):
    def model(*args, **kwargs):
        return SimpleNamespace(logits=two_logits(leaves))

    return model


def cpo_cases(pairs):
    cases = []
    settings = [dict(loss_type=l, beta=b, label_smoothing=s, cpo_alpha=1.0) for b in (0.1, 0.5) for l, s in
                [("sigmoid", 0.0), ("sigmoid", 0.1), ("hinge", 0.0), ("ipo", 0.0)]]  # fmt: skip
    settings += [dict(loss_type="sigmoid", beta=0.1, label_smoothing=0.0, cpo_alpha=0.0)]
    settings += [dict(loss_type="simpo", beta=b, label_smoothing=s, cpo_alpha=a, simpo_gamma=0.5) for b, s in [(0.1, 0.0), (0.5, 0.0), (0.5, 0.1), (2.0, 0.0)]
                 for a in (0.0, 1.0)]  # fmt: skip
    settings += [dict(loss_type="simpo", beta=0.5, label_smoothing=0.0, cpo_alpha=0.0, simpo_gamma=0.5, alpha=0.25)]  # AlphaPO
    for setting in settings:
        with InDouble():
            batch, leaves, both = paired_batch(pairs, False)
            trainer = bare(CPOTrainer, is_encoder_decoder=False, pad_token_id=0, **{"alpha": 0.0, **setting})
            loss, metrics = trainer.get_batch_loss_metrics(with_logits(leaves), batch)
            loss.backward()
        cases.append(paired_case(setting, loss, leaves, both) | {"nll_loss": metrics["nll_loss"]})
    return cases


def paired_case(setting, loss, leaves, both):
    half = len(both) // 2
    return {**setting, "dtype": "float64", "loss": loss.item(),
            "chosen_gradient": unrows(leaves.grad[:half], both[:half]), "rejected_gradient": unrows(leaves.grad[half:], both[half:])}  # fmt: skip


def orpo_cases(pairs):
    cases = []
    for beta in (0.1, 0.5):
        with InDouble():
            batch, leaves, both = paired_batch(pairs, True)
            trainer = bare(ORPOTrainer, is_encoder_decoder=False, padding_value=0, beta=beta)
            loss, metrics = trainer.get_batch_loss_metrics(with_logits(leaves), batch)
            loss.backward()
        prompt_gradient = leaves.grad[:, : PROMPT - 1].clone()
        leaves.grad[:, : PROMPT - 1] = 0
        assert not prompt_gradient[len(both) // 2 :].any()
        cases.append(paired_case({"loss_type": "orpo", "beta": beta}, loss, leaves, both) | {
            "chosen_prompt_gradient": prompt_gradient[: len(both) // 2].tolist(),
            **{k: metrics[k] for k in ("nll_loss", "log_odds_ratio", "log_odds_chosen")},
        })  # fmt: skip
    return cases


# ---------------------------------------------------------------------------------------------------------------------------- KTO


def kto_cases(pairs):
    """The chosen are the desirable examples, the rejected the undesirable: a batch of ten, and its mismatched pairs."""
    cases = []
    for beta in (0.1, 0.5):
        for swap in (False, True):  # with policy and reference of the mismatched pairs swapped, z0 falls below 0 and is cut to 0
            for weights in ((1.0, 1.0), (1.5, 0.8)):
                cases.append(kto(pairs, "kto", beta, swap, *weights))
        cases.append(kto(pairs, "apo_zero_unpaired", beta, False, 1.0, 1.0))
    return cases


def kto(pairs, loss_type, beta, swap, desirable_weight, undesirable_weight):
    both = pairs["chosen_logprobs"] + pairs["rejected_logprobs"]
    kl_policy, kl_reference = pairs["mismatched_logprobs"], pairs["reference_mismatched_logprobs"]
    if swap:
        kl_policy, kl_reference = kl_reference, kl_policy
    with InDouble():
        leaves = rows(both, torch.float64).requires_grad_()
        mask, kl_mask = completion_mask(both), completion_mask(kl_policy)
        zeros = torch.zeros_like(leaves)
        kl_ids = torch.full_like(kl_mask, 2)  # told apart from the matched batch (all ones) by its ids

        def model(given, given_kl):
            def forward(input_ids, **kwargs):
                if input_ids[0, 0] == 2:
                    return SimpleNamespace(log_probs=rows(given_kl, torch.float64))
                return SimpleNamespace(log_probs=masked(given, mask), entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())

            return StandIn(forward)

        policy = model(leaves, kl_policy)
        reference = model(rows(pairs["reference_chosen_logprobs"] + pairs["reference_rejected_logprobs"], torch.float64), kl_reference)
        trainer = bare(
            KTOTrainer, model=policy, ref_model=reference, precompute_ref_logps=False, loss_type=loss_type, beta=beta, calculate_KL=loss_type == "kto",
            desirable_weight=desirable_weight, undesirable_weight=undesirable_weight, args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        )  # fmt: skip
        half = len(both) // 2
        loss = trainer._compute_loss(policy, {
            "input_ids": torch.ones_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask,
            "KL_input_ids": kl_ids, "KL_attention_mask": torch.ones_like(kl_mask), "KL_completion_mask": kl_mask,
            "label": torch.tensor([True] * half + [False] * half),
        }, False)  # fmt: skip
        loss.backward()
    case = {"loss_type": loss_type, "beta": beta, "desirable_weight": desirable_weight, "undesirable_weight": undesirable_weight}
    if loss_type == "kto":
        case["mismatched_swapped"] = swap
        case["mismatched_logratios"] = [math.fsum(p) - math.fsum(r) for p, r in zip(kl_policy, kl_reference)]
        case["z0"] = metrics_of(trainer)["kl"]
        assert math.isclose(max(0.0, sum(case["mismatched_logratios"]) / len(both)), case["z0"], abs_tol=1e-12)
    return case | paired_case({}, loss, leaves, both)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
