"""What it makes: a table, this program beside TRL: fine-tuning, WPO and GRPO on one checkpoint and the same records, on the CPU in float32.

Step time (median of the steps that count) and peak of resident memory above what was resident before the model was loaded. The
checkpoint is a random Gemma 2 that this script makes, with the tokenizer of a demo run; the data are random words. GRPO three times:
short prompts with 64 new tokens, and groups of 8 that share a prompt of about 400 tokens with 32 new ones, where a random model hardly
ever ends an answer, so that on both sides all are of the full length; and answers that end: the model is first fine-tuned on answers of a
geometric distribution of lengths, and samples answers like these, 128 tokens at most. The mean lengths of both sides are printed.

Versions: torch 2.15.0, transformers 5.23.0, trl 1.16.0.  Seed: 7.
How to run, after `cargo build --release -p trainer` and a demo run:
    python training.py --trainer ../../target/release/trainer --tokenizer RUN/demo/base [--steps 8] [--threads 2]
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

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = "tower river house light wind bread stone bridge winter summer yellow silver north south quiet early".split()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="rows with this in their name")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(o.tokenizer, f"{folder}/model")
        data = make_data(folder)
        rows = []
        geometric_row = "GRPO, 4 x 8 answers of geometric length"
        ending = teach_to_end(o, model, data["ending"], folder) if o.only in geometric_row else None
        for name, model, stage, file, ours, theirs in [
            ("SFT, 8 conversations a step", model, "sft", data["sft"], {"per_device_train_batch_size": 8}, ["--batch-size", "8"]),
            ("WPO, 4 pairs a step", model, "po", data["po"], {"per_device_train_batch_size": 4, "weighting_clamp": "false"}, ["--batch-size", "4"]),
            ("GRPO, 4 x 8 answers of 64 to short prompts", model, "rl", data["short"], rollout(4, 8, 64), answers(4, 8, 64)),
            (geometric_row, ending, "rl", data["short"], rollout(4, 8, 128), answers(4, 8, 128)),
            ("GRPO, 2 x 8 answers of 32 to long prompts", model, "rl", data["long"], rollout(2, 8, 32), answers(2, 8, 32)),
        ]:
            if o.only not in name:
                continue
            here = run_here(o, model, stage, file, ours, folder)
            there = run_trl(o, model, stage, file, theirs)
            rows.append((name, here, there))
            print(name, here, there, file=sys.stderr)
        print(f"{'':44} {'here':>9} {'TRL':>9} {'':>6} {'here':>8} {'TRL':>8}")
        for name, (seconds, memory, length), (seconds_trl, memory_trl, length_trl) in rows:
            lengths = f"  answers of {length:.0f} and {length_trl:.0f}" if length and length_trl else ""
            print(f"{name:44} {seconds * 1e3:6.0f} ms {seconds_trl * 1e3:6.0f} ms {seconds_trl / seconds:5.1f}x {memory / 1e6:5.0f} MB {memory_trl / 1e6:5.0f} MB{lengths}")


def rollout(prompts, group, new):
    return {"per_device_train_batch_size": prompts, "num_generations": group, "max_completion_length": new, "max_prompt_length": 1024, "preflight": "off"}


def answers(prompts, group, new):
    return ["--batch-size", str(prompts * group), "--num-generations", str(group), "--max-completion-length", str(new)]


def make_model(tokenizer, folder):
    import torch
    from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(7)
    vocabulary = len(AutoTokenizer.from_pretrained(tokenizer))
    config = Gemma2Config(
        vocab_size=vocabulary, hidden_size=384, intermediate_size=1152, num_hidden_layers=8, num_attention_heads=6, num_key_value_heads=3, head_dim=64,
        sliding_window=256, max_position_embeddings=2048, query_pre_attn_scalar=64, bos_token_id=2, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    Gemma2ForCausalLM(config).save_pretrained(folder)
    # The last of them says that the end of a turn ends an answer: without it TRL samples on.
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "generation_config.json"):
        if os.path.exists(f"{tokenizer}/{name}"):
            shutil.copy(f"{tokenizer}/{name}", folder)
    return folder


def make_data(folder):
    rng = random.Random(7)
    text = lambda low, high: " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))
    turn = lambda role, low, high: {"role": role, "content": text(low, high)}
    rows = {
        "sft": [{"messages": [turn("user", 5, 40), turn("assistant", 5, 60)]} for _ in range(400)],
        "po": [{"prompt": text(5, 40), "chosen": text(5, 40), "rejected": text(5, 40)} for _ in range(400)],
        "ending": [{"messages": [turn("user", 5, 12), {"role": "assistant", "content": geometric(rng)}]} for _ in range(2000)],
        "short": [{"prompt": text(5, 12), "verifier": "length", "args": {"max": 20}} for _ in range(200)],
        "long": [{"prompt": text(140, 160), "verifier": "length", "args": {"max": 20}} for _ in range(200)],
    }
    files = {}
    for name, records in rows.items():
        files[name] = f"{folder}/{name}.jsonl"
        with open(files[name], "w", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    return files


def geometric(rng, mean=16):
    """Words of which each is the last with probability 1 / mean."""
    words = [rng.choice(WORDS)]
    while rng.random() >= 1 / mean:
        words.append(rng.choice(WORDS))
    return " ".join(words)


def teach_to_end(o, model, file, folder, steps=150):
    """A model whose answers have lengths like the data's."""
    output = tempfile.mkdtemp(dir=folder)
    settings = {"per_device_train_batch_size": 16, "learning_rate": 1e-3, "max_length": 256, "save_steps": 0}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [o.trainer, "--stage", "sft", "--model", model, "--data", file, "--output", output, "--device", "cpu", "--tui", "never"]
    subprocess.run([*command, "--max-steps", str(steps), *sets], check=True, capture_output=True)
    return f"{output}/checkpoint-{steps}"


def run_here(o, model, stage, file, settings, folder):
    """Median step time, peak memory above the baseline, and the mean length of what was sampled."""
    output = tempfile.mkdtemp(dir=folder)
    settings = {"shuffle": "false", "max_length": 512, "save_steps": 0, "learning_rate": 1e-5, "max_grad_norm": 1.0, **settings}
    if stage == "rl":
        del settings["max_length"]
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [o.trainer, "--stage", stage, "--model", model, "--data", file, "--output", output, "--device", "cpu", "--tui", "never"]
    env = {**os.environ, "RAYON_NUM_THREADS": str(o.threads)}
    subprocess.run([*command, "--max-steps", str(o.steps + o.warmup), *sets], check=True, capture_output=True, env=env)
    with open(f"{output}/events.jsonl", encoding="utf-8") as log:
        events = [json.loads(line) for line in log]
    steps = [event for event in events if event["kind"] == "step"][o.warmup :]
    lengths = [event["completions/mean_length"] for event in steps if "completions/mean_length" in event]
    finished = next(event for event in events if event["kind"] == "finished")
    memory = finished["memory/peak_bytes"] - finished["memory/baseline_bytes"]
    return statistics.median(event["step_time"] for event in steps), memory, statistics.mean(lengths) if lengths else None


def run_trl(o, model, stage, file, options):
    command = [sys.executable, f"{HERE}/trl_trainers.py", "--model", model, f"--{stage}", file, "--steps", str(o.steps), "--warmup", str(o.warmup)]
    result = subprocess.run([*command, "--threads", str(o.threads), "--max-length", "512", *options], capture_output=True, text=True)
    line = next((line for line in result.stdout.splitlines() if line.startswith('{"task"')), None)
    if line is None:
        sys.exit(f"TRL's {stage} gave nothing:\n{result.stderr[-2000:]}")
    measured = json.loads(line)
    return measured["median_step_s"], measured["peak_above_baseline"], measured.get("mean_completion_length")


if __name__ == "__main__":
    main()
