"""What it makes: nothing by itself. Shared by the scripts beside it: versions, stand-ins for the parts of a trainer that a loss does not need.

Versions: torch 2.15.0, transformers 5.23.0, trl 1.16.0.  Seed: none.  How to run: it is imported, never run.
"""

import json
import os
from collections import defaultdict
from types import SimpleNamespace

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
import transformers
import trl
from torch.overrides import TorchFunctionMode

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(os.path.dirname(HERE), "models")
VERSIONS = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "trl": trl.__version__}


class InDouble(TorchFunctionMode):
    """Answers every request for float32 in float64: TRL calls `.float()` here and there."""

    def __enter__(self):
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *exc):
        torch.set_default_dtype(torch.float32)
        return super().__exit__(*exc)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        kwargs = {key: torch.float64 if value is torch.float32 else value for key, value in (kwargs or {}).items()}
        return func(*args, **kwargs)


class Accelerator:
    """One process on the CPU."""

    device = torch.device("cpu")
    num_processes = 1
    process_index = 0
    sync_gradients = True
    parallelism_config = None

    def gather(self, x):
        return x

    gather_for_metrics = gather

    def reduce(self, x, reduction="sum"):
        return x

    def pad_across_processes(self, x, dim=0, pad_index=0):
        return x

    def unwrap_model(self, model):
        return model


class StandIn(torch.nn.Module):
    """A model whose forward is the given function."""

    is_gradient_checkpointing = False

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def bare(trainer_class, **attributes):
    """A trainer without its __init__: only what the loss reads."""
    trainer = trainer_class.__new__(trainer_class)
    defaults = dict(
        accelerator=Accelerator(), model=SimpleNamespace(training=True), aux_loss_enabled=False, _tp_size=1, _total_train_tokens=0,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
    )  # fmt: skip
    for name, value in {**defaults, **attributes}.items():
        setattr(trainer, name, value)
    return trainer


def metrics_of(trainer):
    return {name: values[-1] for name, values in trainer._metrics["train"].items()}


def write(name, values):
    with open(f"{HERE}/{name}", "w", encoding="utf-8") as file:
        json.dump(values, file, indent=1, ensure_ascii=False)
        file.write("\n")
    print(name, os.path.getsize(f"{HERE}/{name}"), "bytes")
