#!/usr/bin/env python3
"""A whole fine-tuning step of a Gemma-2-2B-shaped model on a GPU: this program beside transformers.

Both train the same random checkpoint, float32 weights and bfloat16 products, AdamW, nothing computed
again, on the same 8 conversations of 1,024 tokens a step. transformers runs under torch.compile, with
flex_attention (Gemma's soft-cap) and with its default. Prints the median step, tokens/s, MFU (six
operations a parameter and token, and causal attention) and the most memory that the driver showed.

    python gpu_step.py --trainer bin/trainer --tokenizer tests/golden/models/gemma2

`--tiny --device cpu` tries the script where there is no GPU.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

LENGTH, BATCH, STEPS, WARMUP = 1024, 8, 20, 5


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--peak-tflops", type=float, default=989.4, help="what MFU is a share of")
    parser.add_argument("--tiny", action="store_true")
    o = parser.parse_args()
    # A process of its own for each, so that none finds the memory of another.
    with tempfile.TemporaryDirectory() as folder:
        flop = run_apart(make_model, o, f"{folder}/model")
        rows = records(o.tokenizer, f"{folder}/chats.jsonl", length(o))
        report(o, "this program", measured(o, run_here, o, folder), flop)
        for attention in ("flex_attention", "default"):
            arguments = (o, f"{folder}/model", rows, attention)
            report(o, f"transformers, {attention}", measured(o, run_apart, there, *arguments), flop)


def length(o):
    return 128 if o.tiny else LENGTH


def make_model(o, folder):
    """Writes the checkpoint, and returns the operations that a token of a step needs."""
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM

    size = dict(
        vocab_size=256_000, hidden_size=2304, intermediate_size=9216, num_hidden_layers=26,
        num_attention_heads=8, num_key_value_heads=4, head_dim=256, sliding_window=4096,
    )  # fmt: skip
    if o.tiny:
        size.update(vocab_size=4096, hidden_size=64, intermediate_size=128, num_hidden_layers=2)
        size.update(head_dim=16, num_attention_heads=4, num_key_value_heads=2)
    config = Gemma2Config(
        **size, query_pre_attn_scalar=size["head_dim"], bos_token_id=2, eos_token_id=1, pad_token_id=0
    )
    torch.manual_seed(7)
    with torch.device(o.device):
        model = Gemma2ForCausalLM(config)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if os.path.exists(f"{o.tokenizer}/{name}"):
            shutil.copy(f"{o.tokenizer}/{name}", folder)
    width = config.num_attention_heads * config.head_dim
    attention = 6 * config.num_hidden_layers * width * length(o)
    return 6 * model.num_parameters() + attention


def records(tokenizer, file, size):
    """Writes conversations of exactly `size` tokens each; returns their tokens and where answers begin."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer)
    rng = random.Random(7)
    rows = []
    with open(file, "w", encoding="utf-8") as out:
        while len(rows) < 4 * BATCH:
            messages = [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": ""}]
            encode = lambda: tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
            start = len(encode()) - 2
            # Letters: a token each, but for what the tokenizer joins, which more letters make up for.
            while len(encode()) < size:
                missing = size - len(encode())
                letters = (rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(missing))
                messages[1]["content"] += "".join(letters)
            if len(encode()) == size:
                rows.append((encode(), start))
                out.write(json.dumps({"messages": messages}) + "\n")
    return rows


def run_here(o, folder):
    """Seconds of the steps after the first. The run is killed before it saves 37 GB."""
    output = f"{folder}/run"
    settings = dict(
        max_length=length(o), per_device_train_batch_size=BATCH, packing="false", shuffle="false",
        save_steps=0, gradient_checkpointing="false", preflight="off", learning_rate=1e-5,
    )  # fmt: skip
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    run = ["--stage", "sft", "--model", f"{folder}/model", "--data", f"{folder}/chats.jsonl"]
    run += ["--output", output, "--device", o.device, "--tui", "never", "--max-steps", str(10 * STEPS)]
    with open(f"{folder}/trainer.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([o.trainer, *run, *sets], stdout=log, stderr=log)
        times = []
        while len(times) < STEPS and process.poll() is None:
            time.sleep(0.2)
            if os.path.exists(f"{output}/events.jsonl"):
                with open(f"{output}/events.jsonl", encoding="utf-8") as events:
                    whole = [json.loads(line) for line in events if line.endswith("\n")]
                times = [event["step_time"] for event in whole if event["kind"] == "step"]
        process.kill()
        process.wait()
    if len(times) < STEPS:
        with open(f"{folder}/trainer.log", encoding="utf-8") as log:
            sys.stderr.write(log.read()[-2000:])
        return []
    return times[WARMUP:]


def there(o, model, rows, attention):
    import torch
    from transformers import AutoModelForCausalLM

    kind = {} if attention == "default" else {"attn_implementation": attention}
    try:
        model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, **kind)
        model = model.to(o.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=o.device == "cuda")
        step = model if o.tiny else torch.compile(model)
        times = []
        for number in range(STEPS):
            batch = [rows[(number * BATCH + i) % len(rows)] for i in range(BATCH)]
            ids = torch.tensor([tokens for tokens, _ in batch], device=o.device)
            labels = ids.clone()
            for row, (_, start) in zip(labels, batch):
                row[:start] = -100
            began = time.perf_counter()
            with torch.autocast(o.device, dtype=torch.bfloat16):
                loss = step(input_ids=ids, labels=labels, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()
            times.append(time.perf_counter() - began)
        return times[WARMUP:]
    except Exception as error:  # What this PyTorch cannot do is a row, not an end.
        print(f"{attention}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
        return []


def run_apart(function, *arguments):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measured(o, function, *arguments):
    """What it returns, and the most memory in use while it ran, in bytes."""
    most, ended = [0], threading.Event()

    def watch():
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not ended.wait(0.2):
            used = subprocess.run(query, capture_output=True, text=True).stdout.split()
            most[0] = max(most[0], int(used[0]) << 20)

    watcher = threading.Thread(target=watch)
    if o.device == "cuda":
        watcher.start()
    try:
        return function(*arguments), most[0]
    finally:
        ended.set()
        if o.device == "cuda":
            watcher.join()


def report(o, name, result, flop):
    times, memory = result
    if not times:
        print(f"{name:32} failed", flush=True)
        return
    seconds = statistics.median(times)
    rate = BATCH * length(o) / seconds
    mfu = rate * flop / (o.peak_tflops * 1e12)
    print(
        f"{name:32}{seconds * 1e3:9.1f} ms{rate:11.0f} tokens/s{mfu:8.1%} MFU{memory / 1e9:8.1f} GB",
        flush=True,
    )


if __name__ == "__main__":
    main()
