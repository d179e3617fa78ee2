#!/usr/bin/env python3
"""PyTorch's times on a GPU for the shapes of `operations --device cuda`, and its matmul and copy.

Prints rows of the same names, with the TFLOP/s of what the mathematics needs: eager, SDPA (causal, where
there is neither soft-cap nor window), flex_attention, torch.compile and, if it is installed, Liger's
cross-entropy.
"""

import torch
import torch.nn.functional as F

DEVICE = "cuda"


def time_of(run, repeats=20):
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def row(name, run, flop=0.0):
    try:
        milliseconds = time_of(run)
        rate = f"{flop / milliseconds / 1e9:>9.1f} TFLOP/s" if flop else ""
        print(f"{name:<76}{milliseconds:>10.3f} ms{rate}", flush=True)
    except Exception as error:  # A missing feature of this PyTorch is a row, not an end.
        print(f"{name:<76}  {type(error).__name__}: {str(error).splitlines()[0][:60]}", flush=True)


def backward(forward, leaves):
    def run():
        for leaf in leaves:
            leaf.grad = None
        output = forward()
        output.backward(torch.ones_like(output))

    return run


def leaf(*shape, dtype):
    return torch.empty(*shape, device=DEVICE, dtype=dtype).uniform_(-1, 1).requires_grad_()


def attention(dtype, tokens, documents, heads, kv_heads, dim, window=None, softcap=None):
    q, k, v = (leaf(1, h, tokens, dim, dtype=dtype) for h in (heads, kv_heads, kv_heads))
    position = torch.arange(tokens, device=DEVICE)
    document = position // (tokens // documents)
    reach = window or tokens
    hidden = ~(
        (document[:, None] == document[None, :])
        & (position[:, None] >= position[None, :])
        & (position[:, None] - position[None, :] < reach)
    )
    scale, group = dim**-0.5, heads // kv_heads

    def eager():
        keys, values = (x.repeat_interleave(group, 1) for x in (k, v))
        scores = q @ keys.transpose(2, 3) * scale
        if softcap:
            scores = torch.tanh(scores / softcap) * softcap
        weights = F.softmax(scores.float().masked_fill(hidden, float("-inf")), -1)
        return weights.to(dtype) @ values

    def sdpa():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    name = f"attention {tokens}×{heads}/{kv_heads}×{dim}"
    if dtype == torch.bfloat16:
        name += " bf16 windowed, capped" if window else " bf16"
    pairs = documents * sum(min(at + 1, reach) for at in range(tokens // documents))
    flop = 4.0 * pairs * heads * dim

    def both(kind, run):
        row(f"{name} forward, {kind}", run, flop)
        row(f"{name} forward+backward, {kind}", backward(run, [q, k, v]), 3.5 * flop)

    both("eager", eager)
    if documents == 1 and not window and not softcap:
        both("SDPA", sdpa)
    try:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    except ImportError:
        return
    seen = lambda b, h, i, j: (i >= j) & (i - j < reach) & (document[i] == document[j])
    mask = create_block_mask(seen, None, None, tokens, tokens, device=DEVICE)
    cap = (lambda score, b, h, i, j: torch.tanh(score / softcap) * softcap) if softcap else None
    compiled = torch.compile(flex_attention)
    both("flex_attention", lambda: compiled(
        q, k, v, score_mod=cap, block_mask=mask, scale=scale, enable_gqa=True
    ))


def logprobs(dtype, tokens, width, vocab):
    hidden, head = leaf(tokens, width, dtype=dtype), leaf(vocab, width, dtype=dtype)
    targets = torch.arange(tokens, device=DEVICE) * 7919 % vocab
    loss = lambda: F.cross_entropy((hidden @ head.T).float(), targets, reduction="sum")
    name = f"linear_logprobs {tokens}×{width}×{vocab}" + " bf16" * (dtype == torch.bfloat16)
    flop = 2.0 * tokens * width * vocab
    row(f"{name} forward, eager", loss, flop)
    row(f"{name} forward+backward, eager", backward(loss, [hidden, head]), 3 * flop)
    compiled = torch.compile(loss)
    row(f"{name} forward+backward, compiled", backward(compiled, [hidden, head]), 3 * flop)
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
    except ImportError:
        return
    liger = LigerFusedLinearCrossEntropyLoss(reduction="sum")
    loss = lambda: liger(head, hidden, targets)
    row(f"{name} forward+backward, Liger", backward(loss, [hidden, head]), 3 * flop)


def main():
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.rand(8192, 8192, device=DEVICE, dtype=dtype)
        milliseconds = time_of(lambda: a @ a)
        print(f"matmul 8192³ {str(dtype)[6:]}: {2 * 8192**3 / milliseconds / 1e9:.0f} TFLOP/s")
    x = torch.rand(1 << 28, device=DEVICE)
    print(f"copy: {8 * (1 << 28) / time_of(x.clone) / 1e9:.2f} TB/s")
    attention(torch.float32, 1024, 4, 8, 4, 64, window=256, softcap=50.0)
    logprobs(torch.float32, 2048, 512, 32768)
    for heads, kv_heads, dim in ((16, 8, 128), (8, 4, 256)):
        attention(torch.bfloat16, 4096, 1, heads, kv_heads, dim)
        attention(torch.bfloat16, 4096, 1, heads, kv_heads, dim, window=1024, softcap=50.0)
    logprobs(torch.bfloat16, 8192, 2304, 256000)
    parameter = torch.rand(1 << 20, device=DEVICE, requires_grad=True)
    parameter.grad = torch.full_like(parameter, 0.1)
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, fused=True)
    row("adamw 1048576", optimizer.step)


if __name__ == "__main__":
    main()
