#!/usr/bin/env python3
"""The same shapes in this program and in PyTorch, on the same machine, in the same run.

    cargo build --release -p trainer && cargo bench --workspace --bench operations --no-run
    python3 benches/side_by_side/side_by_side.py [--rounds 3] [--skip-model]

Needs torch, transformers and numpy. Each round runs both sides one after the other; a row shows the
median of the rounds, and the median of the rounds' ratios (above 1, this program is faster).
"""

import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("RAYON_NUM_THREADS", str(os.cpu_count()))
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch
import torch.nn.functional as F

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRAINER = os.path.join(ROOT, "target", "release", "trainer")


def median_time(run, budget=1.5):
    run()
    began = time.perf_counter()
    run()
    once = time.perf_counter() - began
    times = []
    for _ in range(max(5, min(100, int(budget / once)))):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def both(forward, leaves):
    """Forward, and forward with backward from a gradient of ones."""

    def backward():
        for leaf in leaves:
            leaf.grad = None
        output = forward()
        output.backward(torch.ones_like(output))

    def alone():
        with torch.no_grad():
            forward()

    return alone, backward


def leaf(*shape):
    return torch.empty(*shape).uniform_(-1, 1).requires_grad_()


def operations():
    """Name in the other program's table -> a run of the same in PyTorch."""
    runs = {}

    def add(name, forward, leaves):
        runs[f"{name} forward"], runs[f"{name} forward+backward"] = both(forward, leaves)

    tokens, heads, kv_heads, dim, width, inner, vocab = 1024, 8, 4, 64, 512, 2048, 32768
    q, k, v = leaf(tokens, heads, dim), leaf(tokens, kv_heads, dim), leaf(tokens, kv_heads, dim)
    position = torch.arange(tokens)
    same = position[:, None] // 256 == position[None, :] // 256
    distance = position[:, None] - position[None, :]
    hidden = ~(same & (distance >= 0) & (distance < 256))

    def attention():
        keys = k.repeat_interleave(heads // kv_heads, 1).transpose(0, 1)
        values = v.repeat_interleave(heads // kv_heads, 1).transpose(0, 1)
        scores = torch.tanh(q.transpose(0, 1) @ keys.transpose(1, 2) * (0.125 / 50)) * 50
        weights = F.softmax(scores.masked_fill(hidden, float("-inf")), -1)
        return (weights @ values).transpose(0, 1)

    add(f"attention {tokens}×{heads}/{kv_heads}×{dim}", attention, [q, k, v])

    x, head = leaf(2 * tokens, width), leaf(vocab, width)
    targets = torch.arange(2 * tokens) * 7919 % vocab
    name = f"linear_logprobs {2 * tokens}×{width}×{vocab}"
    loss = lambda: F.cross_entropy(x @ head.T, targets, reduction="sum")
    add(name, loss, [x, head])
    runs[f"{name} one pass"] = runs[f"{name} forward+backward"]

    rows, weight = leaf(tokens, width), leaf(width)

    def rms_norm():
        return rows * torch.rsqrt(rows.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + weight)

    add(f"rms_norm {tokens}×{width}", rms_norm, [rows, weight])

    turned = leaf(tokens, heads, dim)
    angle = position[:, None] / 10000 ** (torch.arange(0, dim, 2) / dim)
    cos, sin = [torch.cat([f(angle)] * 2, -1)[:, None] for f in (torch.cos, torch.sin)]

    def rope():
        a, b = turned.chunk(2, -1)
        return turned * cos + torch.cat([-b, a], -1) * sin

    add(f"rope {tokens}×{heads}×{dim}", rope, [turned])

    gate, up = leaf(tokens, inner), leaf(tokens, inner)
    gated = lambda: F.gelu(gate, approximate="tanh") * up
    add(f"gated_mlp {tokens}×{inner}", gated, [gate, up])

    table = leaf(vocab, width)
    ids = position * position * 31 % vocab
    add(f"embedding {tokens} of {vocab}×{width}", lambda: F.embedding(ids, table) * 22.6, [table])

    parameter = leaf(inner * width)
    parameter.grad = torch.full_like(parameter, 0.1)
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, fused=True)
    runs[f"adamw {inner * width}"] = optimizer.step

    y, matrix = torch.rand(32, width), torch.rand(inner, width)
    runs[f"decode_linear 32×{width}×{inner}"] = lambda: y @ matrix.T
    return runs


def ours():
    binaries = glob.glob(os.path.join(ROOT, "target/release/deps/operations-*"))
    binaries = [b for b in binaries if os.access(b, os.X_OK) and not b.endswith(".d")]
    binary = max(binaries, key=os.path.getmtime)
    output = subprocess.run(
        [binary, "--device", "cpu", "--json"], capture_output=True, text=True, check=True
    ).stdout
    return {row["name"]: row["seconds"] for row in map(json.loads, output.splitlines())}


def compare_operations(rounds):
    runs = operations()
    table = {}
    for _ in range(rounds):
        mine = ours()
        for name, run in runs.items():
            if name in mine:
                table.setdefault(name, []).append((mine[name], median_time(run)))
    return table


# ---- a whole model: 12 layers, 512 wide, in the shape of Gemma 2 ----


def checkpoint(folder):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(1)
    config = Gemma2Config(
        vocab_size=32768, hidden_size=512, intermediate_size=2048, num_hidden_layers=12,
        num_attention_heads=8, num_key_value_heads=4, head_dim=64, sliding_window=256,
        query_pre_attn_scalar=64, max_position_embeddings=4096, attn_implementation="eager",
        pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )
    model = Gemma2ForCausalLM(config)
    model.save_pretrained(folder)
    words = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}
    words.update({f"w{i}": i for i in range(4, 32768)})
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
        "added_tokens": [
            {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for t, i in list(words.items())[:4]
        ],
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
    }
    with open(os.path.join(folder, "tokenizer.json"), "w") as file:
        json.dump(tokenizer, file)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>",
                   "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}, file)
    return model


def words(count, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 32768, (count,), generator=generator)
    return " ".join(f"w{i}" for i in ids.tolist())


def compare_model(rounds):
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        model = checkpoint(folder)
        data = os.path.join(folder, "documents.jsonl")
        with open(data, "w") as file:
            # A document is <bos> + text + <eos>: 1,024 tokens.
            file.writelines(json.dumps({"text": words(1022, seed)}) + "\n" for seed in range(8))
        prompts = os.path.join(folder, "prompts.jsonl")
        with open(prompts, "w") as file:
            file.writelines(json.dumps({"prompt": words(31, seed)}) + "\n" for seed in range(32))
        ids = torch.randint(4, 32768, (1, 1024))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
        prompt_ids = torch.randint(4, 32768, (32, 32))

        def step():
            optimizer.zero_grad()
            model(ids, labels=ids, use_cache=False).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        def generate():
            with torch.no_grad():
                model.generate(prompt_ids, do_sample=True, top_k=0, min_new_tokens=64,
                               max_new_tokens=64, attention_mask=torch.ones_like(prompt_ids))

        def once(run):
            began = time.perf_counter()
            run()
            return time.perf_counter() - began

        def our_step():
            output = tempfile.mkdtemp(dir=folder)
            subprocess.run(
                [TRAINER, "--stage", "cpt", "--model", folder, "--data", data, "--output", output,
                 "--device", "cpu", "--tui", "never", "--max-steps", "5", "--resume", "never",
                 "--set", "per_device_train_batch_size=1", "--set", "packing=false",
                 "--set", "gradient_accumulation_steps=1", "--set", "max_length=1024"],
                check=True, capture_output=True)
            with open(os.path.join(output, "events.jsonl")) as file:
                steps = [e for e in map(json.loads, file) if e["kind"] == "step"]
            return statistics.median(step["step_time"] for step in steps)

        def our_generate():
            """64 tokens less the time of one: loading and prefill are not what is compared."""

            def run(tokens):
                began = time.perf_counter()
                output = subprocess.run(
                    [TRAINER, "generate", "--model", folder, "--data", prompts, "--raw", "--device",
                     "cpu", "--temperature", "1", "--max-new-tokens", str(tokens)],
                    check=True, capture_output=True, text=True).stdout
                seconds = time.perf_counter() - began
                return seconds, sum(len(json.loads(line)["tokens"]) for line in output.splitlines())

            (short, few), (long, many) = run(1), run(64)
            return (long - short) / (many - few) * 32 * 63

        def their_generate():
            with torch.no_grad():
                mask = torch.ones_like(prompt_ids)
                short = once(lambda: model.generate(prompt_ids, do_sample=True, top_k=0,
                                                    max_new_tokens=1, attention_mask=mask))
            return once(generate) - short

        step()
        generate()
        for _ in range(rounds):
            theirs = statistics.median(once(step) for _ in range(3))
            table.setdefault("training step, 64 M parameters, 1,024 tokens", []).append(
                (our_step(), theirs))
            table.setdefault("decoding 32 sequences × 63 tokens", []).append(
                (our_generate(), their_generate()))
    return table


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-model", action="store_true")
    parser.add_argument("--skip-operations", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count())
    table = {}
    if not options.skip_operations:
        table.update(compare_operations(options.rounds))
    if not options.skip_model:
        table.update(compare_model(options.rounds))
    print(f"torch {torch.__version__}, {os.cpu_count()} threads, {options.rounds} rounds")
    print(f"{'':<50}{'here, ms':>12}{'torch, ms':>12}{'ratio':>8}")
    for name, pairs in table.items():
        mine, theirs = (statistics.median(side) for side in zip(*pairs))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"{name:<50}{mine * 1e3:>12.2f}{theirs * 1e3:>12.2f}{ratio:>7.2f}×")


if __name__ == "__main__":
    sys.exit(main())
