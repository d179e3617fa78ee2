#!/usr/bin/env python3
"""PyTorch's times on a GPU for the shapes of `operations --device cuda`, and its matmul and copy.

Prints rows of the same names: eager, SDPA (without soft-cap and window, which it does not have),
flex_attention, and torch.compile where they apply; bfloat16 beside float32.
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


def row(name, run):
    try:
        print(f"{name:<60}{time_of(run):>10.3f} ms", flush=True)
    except Exception as error:  # A missing feature of this PyTorch is a row, not an end.
        print(f"{name:<60}  {type(error).__name__}: {str(error).splitlines()[0][:60]}", flush=True)


def backward(forward, leaves):
    def run():
        for leaf in leaves:
            leaf.grad = None
        output = forward()
        output.backward(torch.ones_like(output))

    return run


def leaf(*shape, dtype):
    return torch.empty(*shape, device=DEVICE, dtype=dtype).uniform_(-1, 1).requires_grad_()


def attention(dtype, tokens, heads=8, kv_heads=4, dim=64, window=256):
    q, k, v = (leaf(1, h, tokens, dim, dtype=dtype) for h in (heads, kv_heads, kv_heads))
    position = torch.arange(tokens, device=DEVICE)
    document = position // 256
    hidden = ~(
        (document[:, None] == document[None, :])
        & (position[:, None] >= position[None, :])
        & (position[:, None] - position[None, :] < window)
    )
    group = heads // kv_heads

    def eager():
        keys, values = (x.repeat_interleave(group, 1) for x in (k, v))
        scores = torch.tanh(q @ keys.transpose(2, 3) * (0.125 / 50)) * 50
        weights = F.softmax(scores.float().masked_fill(hidden, float("-inf")), -1)
        return weights.to(dtype) @ values

    def sdpa():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    name = f"attention {tokens}×{heads}/{kv_heads}×{dim} {str(dtype)[6:]}"
    row(f"{name} forward+backward, eager", backward(eager, [q, k, v]))
    row(f"{name} forward+backward, SDPA causal", backward(sdpa, [q, k, v]))
    try:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    except ImportError:
        return
    seen = lambda b, h, i, j: (i >= j) & (i - j < window) & (document[i] == document[j])
    mask = create_block_mask(seen, None, None, tokens, tokens, device=DEVICE)
    cap = lambda score, b, h, i, j: torch.tanh(score / 50) * 50
    compiled = torch.compile(flex_attention)
    flex = lambda: compiled(q, k, v, score_mod=cap, block_mask=mask, scale=0.125, enable_gqa=True)
    row(f"{name} forward+backward, flex_attention", backward(flex, [q, k, v]))


def logprobs(dtype, tokens, width, vocab):
    hidden, head = leaf(tokens, width, dtype=dtype), leaf(vocab, width, dtype=dtype)
    targets = torch.arange(tokens, device=DEVICE) * 7919 % vocab
    loss = lambda: F.cross_entropy((hidden @ head.T).float(), targets, reduction="sum")
    name = f"linear_logprobs {tokens}×{width}×{vocab} {str(dtype)[6:]} forward+backward"
    row(f"{name}, eager", backward(loss, [hidden, head]))
    row(f"{name}, compiled", backward(torch.compile(loss), [hidden, head]))


def main():
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.rand(8192, 8192, device=DEVICE, dtype=dtype)
        milliseconds = time_of(lambda: a @ a)
        print(f"matmul 8192³ {str(dtype)[6:]}: {2 * 8192**3 / milliseconds / 1e9:.0f} TFLOP/s")
    x = torch.rand(1 << 28, device=DEVICE)
    print(f"copy: {8 * (1 << 28) / time_of(x.clone) / 1e9:.2f} TB/s")
    for dtype in (torch.float32, torch.bfloat16):
        attention(dtype, 1024)
        attention(dtype, 4096, heads=16, kv_heads=8, dim=128)
        logprobs(dtype, 2048, 512, 32768)
    logprobs(torch.bfloat16, 4096, 2304, 256000)
    parameter = torch.rand(1 << 20, device=DEVICE, requires_grad=True)
    parameter.grad = torch.full_like(parameter, 0.1)
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, fused=True)
    row("adamw 1048576", optimizer.step)


if __name__ == "__main__":
    main()
