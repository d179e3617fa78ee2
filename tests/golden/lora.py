"""What it makes: lora.json and lora/{gemma2,qwen3}/, the numbers of PEFT's LoRA in float64: adapters on all linear layers of models/gemma2
and models/qwen3, the loss, the gradient of every A and B, and ten optimizer steps.

Versions: torch 2.15.0, transformers 5.23.0, peft 0.21.2.  Seed: SEED below.
How to run: python lora.py   (after models.py; under a minute)

lora/<family>/ is the folder that PEFT's save_pretrained writes for the adapters before the first step (A and B in float32, neither zero;
base_model_name_or_path made relative). The loss is the mean cross-entropy of every token but the first of each sequence. A step: loss and
gradients; norm = sqrt(sum of g^2 over every A and B); where norm exceeds 1, all gradients times 1 / (norm + 1e-6), as torch's
clip_grad_norm_; then torch.optim.AdamW. `gradients` are those of the first step, before clipping: of each parameter its norm and the
values at `places` of its flattened form. `logits_after` are those of the last token of the first sequence after the ten steps, every
16th. `float32_error` says how far the same steps in float32 stray.
"""

import json
import os

import peft
import torch
import transformers

from in_double import InDouble, assert_no_float32
from models import FAMILIES, load

SEED = 4711
HERE = os.path.dirname(os.path.abspath(__file__))
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "lora_dropout": 0.0, "use_rslora": False, "task_type": "CAUSAL_LM"}
HOW = {"learning_rate": 1e-2, "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-8, "weight_decay": 0.1, "max_grad_norm": 1.0}
LENGTHS = [9, 4, 17]
STEPS = 10


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "peft": peft.__version__}
    cases = {family: case(family) for family in ("gemma2", "qwen3")}
    with open(f"{HERE}/lora.json", "w") as file:
        json.dump({"made_by": "lora.py", "versions": versions, "seed": SEED, **HOW, "cases": cases}, file, indent=1)
        file.write("\n")
    for family, values in cases.items():
        print(family, values["float32_error"], [(round(s["loss"], 5), round(s["grad_norm"], 4)) for s in values["steps"]])


def case(family):
    generator = torch.Generator().manual_seed(SEED + list(FAMILIES).index(family))
    rows = [torch.randint(5, 300, (length,), generator=generator).tolist() for length in LENGTHS]
    model = adapted(load(family))
    start = {}
    for name, parameter in trained(model):
        spread = 0.1 if ".lora_B." in name else 1 / parameter.shape[1] ** 0.5
        start[name] = spread * torch.randn(parameter.shape, generator=generator)
        parameter.data = start[name].clone()
    save(model, family)
    single = run(model, rows)
    wide = load(family, torch.float64)
    with InDouble():
        wide = adapted(wide)
        for name, parameter in trained(wide):
            parameter.data = start[name].double()
        with assert_no_float32():
            double = run(wide, rows)
    pairs = list(zip(single["steps"], double["steps"]))
    worst = 0.0
    for name, gradient in double["gradients"].items():
        values = zip(single["gradients"][name]["values"], gradient["values"])
        worst = max([worst, *(abs(a - b) / gradient["norm"] for a, b in values)])
    return {
        "rows": rows,
        **double,
        "float32_error": {
            "loss": max(abs(s["loss"] - d["loss"]) for s, d in pairs),
            "grad_norm_relative": max(abs(s["grad_norm"] / d["grad_norm"] - 1) for s, d in pairs),
            "gradient_of_its_norm": worst,
            "logits_after": max(abs(a - b) for a, b in zip(single["logits_after"], double["logits_after"])),
        },
    }


def adapted(model):
    return peft.get_peft_model(model, peft.LoraConfig(**LORA), autocast_adapter_dtype=False).eval()


def trained(model):
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def save(model, family):
    folder = f"{HERE}/lora/{family}"
    model.save_pretrained(folder)
    os.remove(f"{folder}/README.md")
    path = f"{folder}/adapter_config.json"
    with open(path) as file:
        config = json.load(file)
    config["base_model_name_or_path"] = f"tests/golden/models/{family}"
    config["target_modules"] = sorted(config["target_modules"])
    with open(path, "w") as file:
        json.dump(config, file, indent=1, sort_keys=True)
        file.write("\n")


def run(model, rows):
    parameters = trained(model)
    optimizer = torch.optim.AdamW(
        [parameter for _, parameter in parameters], lr=HOW["learning_rate"], betas=(HOW["adam_beta1"], HOW["adam_beta2"]),
        eps=HOW["adam_epsilon"], weight_decay=HOW["weight_decay"], foreach=False,
    )  # fmt: skip
    gradients, steps = {}, []
    for step in range(STEPS):
        losses = [token_losses(model, row) for row in rows]
        loss = torch.cat(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {name.replace(".default", ""): described(parameter.grad) for name, parameter in parameters}
        grad_norm = torch.nn.utils.clip_grad_norm_([parameter for _, parameter in parameters], HOW["max_grad_norm"], foreach=False)
        optimizer.step()
        steps.append({"loss": loss.item(), "grad_norm": grad_norm.item()})
    with torch.no_grad():
        logits = model(torch.tensor([rows[0]]), use_cache=False).logits[0, -1, ::16]
    return {"gradients": gradients, "steps": steps, "logits_after": logits.tolist()}


def token_losses(model, row):
    ids = torch.tensor(row)
    logits = model(ids[None], use_cache=False).logits[0, :-1]
    return -logits.log_softmax(-1).gather(-1, ids[1:, None])[:, 0]


def described(gradient):
    flat = gradient.flatten()
    places = [0, flat.numel() // 3, flat.numel() - 1]
    return {"norm": flat.norm().item(), "places": places, "values": flat[places].tolist()}


if __name__ == "__main__":
    main()
