"""What it makes: nothing by itself. `InDouble` lets models.py and grpo.py run a transformers model wholly in float64.

Calling `.double()` on a transformers model is not enough: RMSNorm, rotary angles and the attention softmax convert to float32 by
name. Inside `with InDouble():` every such request is answered in float64, and `assert_no_float32` proves that none slipped through.
Versions: torch 2.15.0.  Seed: none.  How to run: it is imported, never run.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


def widened(value):
    return torch.float64 if value is torch.float32 else value


class InDouble(TorchFunctionMode):
    def __enter__(self):
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *exc):
        torch.set_default_dtype(torch.float32)
        return super().__exit__(*exc)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        kwargs = {key: widened(value) for key, value in (kwargs or {}).items()}
        return func(*map(widened, args), **kwargs)


class assert_no_float32(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_flatten(out)[0]:
            assert not (isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float32), f"{func} made a float32 tensor"
        return out
