"""What it makes: nothing; it prints. Loads a checkpoint saved by our program and the one it came from, both with transformers, and
compares their logits on a fixed input and their tensors (names, dtypes, shapes, largest difference).

Exits 1 where a tensor's name, dtype or shape differs, or either cannot be loaded whole. The weights may differ: that is training.
Versions: torch 2.15.0, transformers 5.23.0, safetensors 0.8.0.  Seed: none, the input is fixed.
How to run: python check_saved.py MODEL_DIR ORIGINAL_DIR
"""

import glob
import json
import os
import sys

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


def main(model_dir, original_dir):
    torch.set_num_threads(1)
    wrong = []
    saved, original = stored_tensors(model_dir), stored_tensors(original_dir)
    for name in sorted(saved.keys() | original.keys()):
        if name not in saved or name not in original:
            wrong.append(f"{name}: only in {'the original' if name in original else 'the saved checkpoint'}")
            continue
        a, b = saved[name], original[name]
        if a.dtype != b.dtype or a.shape != b.shape:
            wrong.append(f"{name}: {a.dtype} {list(a.shape)} for {b.dtype} {list(b.shape)}")
        else:
            print(f"  {name}  {a.dtype}  {list(a.shape)}  max abs difference {(a.double() - b.double()).abs().max().item():.3e}")

    vocab_size = AutoConfig.from_pretrained(original_dir).vocab_size
    ids = (torch.arange(40) * 7919 % vocab_size)[None]
    logits = []
    for folder in (model_dir, original_dir):
        model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        tied = set(model.all_tied_weights_keys)
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            left = set(map(str, report[problem])) - tied
            wrong += [f"{folder}: {problem}: {sorted(left)}"] if left else []
        with torch.no_grad():
            logits.append(model.eval()(ids, use_cache=False).logits)
    for text in ("tower", "<bos> 塔 <|im_end|>"):
        a, b = (AutoTokenizer.from_pretrained(folder)(text)["input_ids"] for folder in (model_dir, original_dir))
        wrong += [f"tokenizers differ on {text!r}: {a} for {b}"] if a != b else []

    print(f"{len(saved)} tensors in {len(shards(model_dir))} file(s); logits: max abs difference {(logits[0] - logits[1]).abs().max().item():.3e}")
    print("\n".join(f"WRONG {line}" for line in wrong) or "names, dtypes, shapes and tokenizers agree")
    return bool(wrong)


def stored_tensors(folder):
    tensors = {}
    for path in shards(folder):
        with safe_open(path, framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}
    return tensors


def shards(folder):
    """The files that the index names, where there is one, so that a stray or a missing shard is noticed."""
    index = os.path.join(folder, "model.safetensors.index.json")
    if os.path.exists(index):
        with open(index) as file:
            return [os.path.join(folder, name) for name in sorted(set(json.load(file)["weight_map"].values()))]
    return sorted(glob.glob(os.path.join(folder, "model*.safetensors")))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
