"""What it makes: trajectories.json, the first ten optimizer steps of TRL's own trainers in float32 on ../models/{gemma2,qwen3}.

SFT and CPT (SFTTrainer); DPO and WPO (DPOTrainer, sigmoid, use_weighting); GRPO (GRPOTrainer, dapo) with completions and rewards
given through `rollout_func`, two updates a rollout. Data: cpt.jsonl, sft.jsonl and po.jsonl here. Rows in file order, again from the
start when they are through. Weight decay acts on every parameter, as torch.optim.AdamW's does; transformers' Trainer would leave
norms out. `float32_error` is how far the same steps in float64 lie, step by step: the larger of loss and grad_norm, relative.

Versions: torch 2.15.0, transformers 5.23.0, trl 1.16.0.  Seed: SEED below, for GRPO's completions: the first from 1 on
with which no step in float32 is off by more than 1.4e-5.
How to run: python trajectories.py   (about two minutes on one core; CPU, float32, eager attention)
"""

import json
import os
import tempfile
import warnings

import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

import trl.trainer.grpo_trainer as grpo_module
from trl_stand_ins import HERE, MODELS, VERSIONS, InDouble, write

SEED = 7
STEPS = 10
SHARED = dict(
    learning_rate=1e-3, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.5, adam_beta1=0.9, adam_beta2=0.95, adam_epsilon=1e-8,
    max_grad_norm=1.0, gradient_accumulation_steps=1, optim="adamw_torch", max_steps=STEPS,
)  # fmt: skip
PLUMBING = dict(
    bf16=False, use_cpu=True, gradient_checkpointing=False, report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True, seed=1,
    dataloader_pin_memory=False,
)  # fmt: skip
END = {"gemma2": "<end_of_turn>", "qwen3": "<|im_end|>"}


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    cases = []
    for family in ("gemma2", "qwen3"):
        for stage in ("cpt", "sft"):
            cases.append(both(supervised_case, family, stage))
        for weighting in (False, True):
            cases.append(both(dpo_case, family, weighting))
        cases.append(both(grpo_case, family))
    values = {"made_by": "trajectories.py", "versions": VERSIONS, "seed": SEED, "dtype": "float32", "settings": SHARED, "cases": cases}
    for case in cases:
        print(case["stage"], case["model"], [f"{e:.0e}" for e in case["float32_error"]])
        print("   ", [(round(s["loss"], 6), round(s["grad_norm"], 5)) for s in case["steps"]])
    write("trajectories.json", values)


def both(make, *args):
    """A case in float32, which is kept, and in float64, for its distance."""
    case = make(*args)
    with InDouble():
        double = make(*args)
    case["float32_error"] = [max(abs(a[k] - b[k]) / (abs(b[k]) + 1e-3) for k in ("loss", "grad_norm")) for a, b in zip(case["steps"], double["steps"])]
    return case


def model_of(name):
    single = AutoModelForCausalLM.from_pretrained(f"{MODELS}/{name}", dtype=torch.float32, attn_implementation="eager")
    if torch.get_default_dtype() == torch.float32:
        return single
    model = AutoModelForCausalLM.from_config(single.config, attn_implementation="eager").double()  # rotary angles made anew in float64
    model.load_state_dict(single.state_dict())
    return model


def rows_of(stage):
    with open(f"{HERE}/{stage}.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Recorded:
    """Keeps each step's loss as it is (the log rounds it) and the logs."""

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        self.__dict__.setdefault("losses", []).append(loss.item())
        return loss

    def log(self, logs, *args, **kwargs):
        super().log(logs, *args, **kwargs)
        if "grad_norm" in logs:
            self.__dict__.setdefault("logged", []).append(dict(logs))

    def get_decay_parameter_names(self, model):
        return [name for name, _ in model.named_parameters()]

    def steps(self, *more):
        self.train()
        assert len(self.losses) == len(self.logged) == STEPS
        return [{"loss": loss, "grad_norm": float(logs["grad_norm"]), **{k: logs[k] for k in more}} for loss, logs in zip(self.losses, self.logged)]


# ----------------------------------------------------------------------------------------------------------------------- SFT, CPT


class RecordedSFT(Recorded, SFTTrainer):
    pass


def sft_example(tokenizer, end, messages):
    """The whole conversation by the template; supervised are each assistant turn's content and its end-of-turn token."""
    end_id = tokenizer.convert_tokens_to_ids(end)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    labels = [-100] * len(ids)
    for turn in (i for i, m in enumerate(messages) if m["role"] == "assistant"):
        before = tokenizer.apply_chat_template(messages[:turn], tokenize=False, add_generation_prompt=True)
        start = len(tokenizer(before, add_special_tokens=False)["input_ids"])
        assert ids[:start] == tokenizer(before, add_special_tokens=False)["input_ids"]
        stop = ids.index(end_id, start) + 1
        labels[start:stop] = ids[start:stop]
    return {"input_ids": ids, "labels": labels}


def supervised_case(family, stage):
    tokenizer = AutoTokenizer.from_pretrained(f"{MODELS}/{family}")
    if stage == "sft":
        rows = [sft_example(tokenizer, END[family], row["messages"]) for row in rows_of("sft")]
    else:  # each document a row: BOS where the family has one, its text and the tokenizer's end
        rows, first = [], [tokenizer.bos_token_id] if family == "gemma2" else []
        for row in rows_of("cpt"):
            ids = first + tokenizer(row["text"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
            rows.append({"input_ids": ids, "labels": ids})
    with tempfile.TemporaryDirectory() as folder:
        args = SFTConfig(output_dir=folder, per_device_train_batch_size=4, max_length=256, train_sampling_strategy="sequential", packing=False,
                         dataset_kwargs={"skip_prepare_dataset": True}, **SHARED, **PLUMBING)  # fmt: skip
        trainer = RecordedSFT(model=model_of(family), args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
        steps = trainer.steps()
    return {"stage": stage, "model": family, "steps": steps}


# ---------------------------------------------------------------------------------------------------------------------------- DPO


class RecordedDPO(Recorded, DPOTrainer):
    def _prepare_dataset(self, dataset, *args, **kwargs):
        return dataset  # tokenised already: nothing after the end-of-turn token


def turns(prompt, *answer):
    return [{"role": role, "content": content} for role, content in zip(("user", "assistant"), (prompt, *answer))]


def dpo_case(family, weighting):
    tokenizer = AutoTokenizer.from_pretrained(f"{MODELS}/{family}")
    rows = []
    for row in rows_of("po"):
        # The template writes more than the answer into an assistant turn: Qwen 3's empty thoughts.
        whole = {side: sft_example(tokenizer, END[family], turns(row["prompt"], row[side])) for side in ("chosen", "rejected")}
        start = len(tokenizer.apply_chat_template(turns(row["prompt"]), tokenize=True, add_generation_prompt=True)["input_ids"])
        answer = lambda side: [i for i, label in zip(whole[side]["input_ids"], whole[side]["labels"]) if label != -100]
        rows.append({"prompt_ids": whole["chosen"]["input_ids"][:start], "chosen_ids": answer("chosen"), "rejected_ids": answer("rejected")})
    with tempfile.TemporaryDirectory() as folder:
        args = DPOConfig(output_dir=folder, per_device_train_batch_size=2, max_length=256, train_sampling_strategy="sequential", loss_type="sigmoid", beta=0.1,
                         use_weighting=weighting, **SHARED, **PLUMBING)  # fmt: skip
        trainer = RecordedDPO(model=model_of(family), ref_model=model_of(family), args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
        steps = trainer.steps("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")
    return {"stage": "wpo" if weighting else "dpo", "model": family, "steps": steps}


# --------------------------------------------------------------------------------------------------------------------------- GRPO

GROUP, PROMPTS, ITERATIONS = 4, 2, 2
LONGEST = 8


class RecordedGRPO(Recorded, GRPOTrainer):
    """Also keeps what each rollout was scored with."""

    def _generate_and_score_completions(self, inputs):
        out = super()._generate_and_score_completions(inputs)
        mask = out["completion_mask"].bool()
        lists = lambda x: [row[m].tolist() for row, m in zip(x, mask)]
        self.__dict__.setdefault("rollouts", []).append({
            "old_logprobs": lists(out["old_per_token_logps"]), "reference_logprobs": lists(out["ref_per_token_logps"]),
            "advantages": out["advantages"].tolist(), "num_items": int(out["num_items_in_batch"]),
        })  # fmt: skip
        return out


def drawn(model, prompt, generator, end):
    """A completion sampled from the initial model at temperature 1: to the end-of-turn token or to LONGEST tokens."""
    ids = list(prompt)
    while len(ids) - len(prompt) < LONGEST and (len(ids) == len(prompt) or ids[-1] != end):
        with torch.no_grad():
            probabilities = model(torch.tensor([ids]), use_cache=False).logits[0, -1].softmax(-1)
        probabilities[model.config.pad_token_id] = 0  # transformers' embedding gives it no gradient where it is read (`padding_idx`)
        ids.append(torch.multinomial(probabilities, 1, generator=generator).item())
        if len(ids) - len(prompt) == 3 + int(4 * torch.rand((), generator=generator)):
            ids.append(end)  # some end early, for lengths of 3 to 8
    return ids[len(prompt) :][:LONGEST]


DRAWN = {}


def draw_rollouts(tokenizer, model, prompts, end):
    generator = torch.Generator().manual_seed(SEED)
    rendered = [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
    prompt_ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in rendered]
    rollouts = []
    for r in range(STEPS // ITERATIONS):
        chosen = [(PROMPTS * r + p) % len(prompts) for p in range(PROMPTS) for _ in range(GROUP)]
        rollouts.append({
            "prompts": [prompt_ids[p] for p in chosen],
            "completions": [drawn(model, prompt_ids[p], generator, end) for p in chosen],
            "rewards": [int(torch.randint(0, 17, (), generator=generator)) / 8 for _ in chosen],
        })  # fmt: skip
    return rollouts


def grpo_case(name):
    tokenizer = AutoTokenizer.from_pretrained(f"{MODELS}/{name}")
    end = tokenizer.convert_tokens_to_ids(END[name])
    prompts = [row["messages"][:1] for row in rows_of("sft")]
    if name not in DRAWN:  # in float32, by the first of the case's runs
        DRAWN[name] = draw_rollouts(tokenizer, model_of(name).eval(), prompts, end)
    rollouts = DRAWN[name]
    served = []

    def rollout(given, trainer):
        now = rollouts[len(served)]
        assert [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in given] == [tokenizer.decode(p) for p in now["prompts"]]
        served.append(now)
        return {"prompt_ids": now["prompts"], "completion_ids": now["completions"], "logprobs": [[0.0] * len(c) for c in now["completions"]]}

    def reward(completion_ids, **kwargs):
        assert completion_ids == served[-1]["completions"]
        return served[-1]["rewards"]

    grpo_module.shuffle_sequence_dict = lambda batch: batch  # rows stay as they are: only the order of a sum
    settings = dict(loss_type="dapo", beta=0.04, epsilon=0.2, epsilon_high=0.28, num_iterations=ITERATIONS, num_generations=GROUP, temperature=1.0,
                    scale_rewards="group", steps_per_generation=1)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        args = GRPOConfig(output_dir=folder, per_device_train_batch_size=GROUP * PROMPTS, max_completion_length=LONGEST, shuffle_dataset=False,
                          **settings, **SHARED, **PLUMBING)  # fmt: skip
        grpo_module.create_model_from_path = lambda *args, **kwargs: model_of(name)  # the reference
        trainer = RecordedGRPO(model=model_of(name), reward_funcs=reward, args=args, train_dataset=Dataset.from_list([{"prompt": p} for p in prompts]),
                               processing_class=tokenizer, rollout_func=rollout)  # fmt: skip
        steps = trainer.steps("kl", "entropy", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")
    assert len(served) == len(rollouts) == len(trainer.rollouts)
    return {"stage": "grpo", "model": name, **settings, "rollouts": [a | b for a, b in zip(rollouts, trainer.rollouts)], "steps": steps}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
