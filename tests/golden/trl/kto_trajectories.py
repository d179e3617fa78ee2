"""What it makes: kto.jsonl, unpaired answers drawn from a small vocabulary, and kto_trajectories.json, the first ten optimizer steps of TRL's
own KTOTrainer on them in float32 on ../models/{gemma2,qwen3}.

Twelve records in file order, four a step, again from the start when they are through: three batches, whose mismatched completions are
those of the record before, the first's those of the last, as TRL's `_prepare_dataset` makes them. The rest is as in trajectories.py.

Versions: torch 2.15.0, transformers 5.23.0, trl 1.16.0.  Seed: SEED below (what the words are drawn from).
How to run: python kto_trajectories.py   (about a minute on one core; CPU, float32, eager attention)
"""

import json
import random
import tempfile
import warnings

import torch
import transformers
from datasets import Dataset
from transformers import AutoTokenizer
from trl import KTOConfig, KTOTrainer

from trajectories import END, MODELS, PLUMBING, SHARED, Recorded, both, model_of, rows_of, sft_example, turns
from trl_stand_ins import HERE, VERSIONS, write

SEED = 4281
BATCH = 4
WORDS = "tower house river bread light wind bridge winter summer south north yellow early".split()
WEIGHTS = dict(desirable_weight=1.0, undesirable_weight=1.25)


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    draw()
    cases = [both(kto_case, family, loss_type) for family in ("gemma2", "qwen3") for loss_type in ("kto", "apo_zero_unpaired")]
    for case in cases:
        print(case["loss_type"], case["model"], [f"{e:.0e}" for e in case["float32_error"]])
        print("   ", [(round(s["loss"], 6), round(s["grad_norm"], 5), round(s["kl"], 5)) for s in case["steps"]])
    write("kto_trajectories.json", {"made_by": "kto_trajectories.py", "versions": VERSIONS, "seed": SEED, "dtype": "float32", "settings": SHARED | WEIGHTS, "cases": cases})


def draw():
    generator = random.Random(SEED)
    some = lambda low, high: " ".join(generator.choices(WORDS, k=generator.randint(low, high)))
    labels = [True, False, True, True, False, False, False, True, False, True, False, True]
    rows = [{"prompt": some(2, 6) + "?", "completion": some(1, 7), "label": label} for label in labels]
    with open(f"{HERE}/kto.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


class RecordedKTO(Recorded, KTOTrainer):
    def _prepare_dataset(self, dataset, *args, **kwargs):
        """Tokenised already: nothing after the end-of-turn token. What is left of TRL's is the mismatched completions."""
        if not self.calculate_KL:
            return dataset

        def rotated(examples):
            examples["KL_completion_ids"] = [examples["completion_ids"][-1]] + examples["completion_ids"][:-1]
            return examples

        return dataset.map(rotated, batched=True, batch_size=BATCH)


def kto_case(family, loss_type):
    tokenizer = AutoTokenizer.from_pretrained(f"{MODELS}/{family}")
    rows = []
    for row in rows_of("kto"):
        whole = sft_example(tokenizer, END[family], turns(row["prompt"], row["completion"]))
        supervised = [i for i, label in enumerate(whole["labels"]) if label != -100]
        start, stop = supervised[0], supervised[-1] + 1
        rows.append({"prompt_ids": whole["input_ids"][:start], "completion_ids": whole["input_ids"][start:stop], "label": row["label"]})
    with tempfile.TemporaryDirectory() as folder:
        args = KTOConfig(output_dir=folder, per_device_train_batch_size=BATCH, max_length=256, train_sampling_strategy="sequential", loss_type=loss_type, beta=0.1,
                         **WEIGHTS, **SHARED, **PLUMBING)  # fmt: skip
        trainer = RecordedKTO(model=model_of(family), ref_model=model_of(family), args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
        steps = trainer.steps("kl", "rewards/chosen", "rewards/rejected", "rewards/margins")
    return {"stage": "kto", "model": family, "loss_type": loss_type, "steps": steps}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
