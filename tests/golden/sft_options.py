"""What it makes: sft_options.json, what PyTorch and transformers make of the options of supervised fine-tuning, in float64: losses of
small logits with their gradients, and the loss and gradient norms of two sequences on models/gemma2.

Versions: torch 2.15.0, transformers 5.23.0.  Seed: SEED below.
How to run: python sft_options.py   (after models.py; a few seconds)

Every loss is a sum over supervised tokens divided by their number:
    label_smoothing e   torch's cross_entropy(label_smoothing=e), asserted to be transformers' LabelSmoother(e)
    z_loss l            + l * logsumexp(z)^2
    dft                 -p.detach() * log p, as TRL's dft_loss
"noise" is added to the output of the embedding, where transformers' NEFTune hook adds its own.
"""

import json
import os

import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers.trainer_pt_utils import LabelSmoother

from in_double import InDouble, assert_no_float32
from models import load

SEED = 2508
HERE = os.path.dirname(os.path.abspath(__file__))
OPTIONS = [
    {"loss_type": "nll", "label_smoothing": 0.0, "z_loss": 0.0},
    {"loss_type": "nll", "label_smoothing": 0.1, "z_loss": 0.0},
    {"loss_type": "nll", "label_smoothing": 0.0, "z_loss": 0.01},
    {"loss_type": "nll", "label_smoothing": 0.3, "z_loss": 0.05},
    {"loss_type": "dft", "label_smoothing": 0.0, "z_loss": 0.0},
    {"loss_type": "dft", "label_smoothing": 0.0, "z_loss": 0.02},
]


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    values = {
        "made_by": "sft_options.py",
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "seed": SEED,
        "logits": logits_case(),
        "model": model_case(),
    }
    with open(f"{HERE}/sft_options.json", "w") as file:
        json.dump(values, file, indent=1)
        file.write("\n")


def loss_of(logits, targets, loss_type, label_smoothing, z_loss):
    """The mean over tokens; logits [tokens, vocab]."""
    if loss_type == "dft":
        logprobs = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        loss = (-logprobs.exp().detach() * logprobs).mean()
    else:
        loss = cross_entropy(logits, targets, label_smoothing=label_smoothing)
        if label_smoothing > 0.0:
            theirs = LabelSmoother(epsilon=label_smoothing)({"logits": logits[None]}, targets[None])
            # It sums over the vocabulary in float32, whatever the logits are.
            assert torch.allclose(loss, theirs.to(loss.dtype), rtol=1e-6)
    return loss + z_loss * logits.logsumexp(-1).square().mean()


def logits_case():
    generator = torch.Generator().manual_seed(SEED)
    logits = (3.0 * torch.randn(5, 7, generator=generator, dtype=torch.float64)).round(decimals=4)
    targets = torch.randint(0, 7, (5,), generator=generator)
    cases = []
    for options in OPTIONS:
        leaf = logits.clone().requires_grad_()
        loss = loss_of(leaf, targets, **options)
        loss.backward()
        cases.append({**options, "loss": loss.item(), "gradient": leaf.grad.tolist()})
    return {"logits": logits.tolist(), "targets": targets.tolist(), "cases": cases}


def model_case():
    """Two sequences whose supervised tokens follow `supervised_from`, run one by one; the loss is over all of them."""
    generator = torch.Generator().manual_seed(SEED + 1)
    sequences = [[2] + torch.randint(5, 300, (length - 1,), generator=generator).tolist() for length in (6, 11)]
    supervised_from = [2, 7]
    width = load("gemma2").config.hidden_size
    noise = [(0.2 * torch.rand(len(ids), width, generator=generator, dtype=torch.float64) - 0.1).round(decimals=4) for ids in sequences]
    cases = []
    for options in OPTIONS:
        for noised in (False, True):
            if noised and options is not OPTIONS[0] and options is not OPTIONS[3]:
                continue
            model = load("gemma2", torch.float64)
            with InDouble(), assert_no_float32():
                logits, targets = [], []
                for ids, start, added in zip(sequences, supervised_from, noise):
                    hook = model.get_input_embeddings().register_forward_hook(lambda m, i, out, a=added: out + a if noised else out)
                    z = model(torch.tensor([ids]), use_cache=False).logits[0]
                    hook.remove()
                    logits.append(z[start - 1 : -1])
                    targets.append(torch.tensor(ids[start:]))
                loss = loss_of(torch.cat(logits), torch.cat(targets), **options)
                loss.backward()
            norms = {name: p.grad.norm().item() for name, p in model.named_parameters()}
            cases.append({**options, "noised": noised, "loss": loss.item(), "grad_norms": norms})
    return {
        "sequences": sequences,
        "supervised_from": supervised_from,
        "noise": [n.flatten().tolist() for n in noise],
        "cases": cases,
    }


if __name__ == "__main__":
    main()
