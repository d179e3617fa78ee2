"""What it makes: models/{gemma2,gemma3,qwen2,qwen3}/, four tiny random Hugging Face checkpoints and what transformers computes with them.

Each folder: the checkpoint (config.json, weights, generation_config.json, tokenizer files, chat_template.jinja), config_old.json (the
same configuration in the spelling of 2024), golden.safetensors and golden.json. The keys of both are explained in README.md.
Versions: torch 2.15.0, transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0.  Seed: SEED below.
How to run: python models.py [FAMILY]...   (about a minute on one core; the values depend on the CPU in the last bits)
"""

import json
import os
import shutil
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from byte_bpe import gemma_tokenizer, qwen_tokenizer
from in_double import InDouble, assert_no_float32

SEED = 20260
HERE = os.path.dirname(os.path.abspath(__file__))
LENGTHS = [2, 3, 17, 31]  # packed into one row by our program, run one by one here
MAX_NEW_TOKENS = 24
# Greedy prompts, shorter and longer than the window: of each series, the first {number} whose continuation tells something.
LONG_RUNS = ["T{number}", "Der Turm steht auf dem Hügel {number}, and the river runs below 塔. "]
ENDING_RUN = "Translate the tower {number}:"
TEXTS = ["tower", "The river runs below 塔。", "  two  spaces\n\nand 42 lines ", "cafe\u0301 <think> ok </think>"]

# Sizes are odd on purpose, no two alike, so that a transposed or confused dimension cannot pass.
FAMILIES = {
    "gemma2": dict(
        model_type="gemma2", vocab_size=307, hidden_size=36, intermediate_size=52, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, head_dim=10, query_pre_attn_scalar=7, sliding_window=5,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        attn_logit_softcapping=5.0, final_logit_softcapping=7.0, rms_norm_eps=2e-3,
        rope_parameters={"rope_type": "default", "rope_theta": 300.0},
        tie_word_embeddings=True, bos_token_id=2, eos_token_id=1, pad_token_id=0, max_position_embeddings=256,
    ),
    "gemma3": dict(
        model_type="gemma3_text", vocab_size=309, hidden_size=40, intermediate_size=44, num_hidden_layers=7,
        num_attention_heads=4, num_key_value_heads=1, head_dim=12, query_pre_attn_scalar=9, sliding_window=5,
        # Every third layer is global: config.json says so in layer_types alone, config_old.json in sliding_window_pattern.
        layer_types=["full_attention" if i % 3 == 2 else "sliding_attention" for i in range(7)], rms_norm_eps=3e-3,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 900.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
        },
        tie_word_embeddings=True, bos_token_id=2, eos_token_id=[1, 4], pad_token_id=0, max_position_embeddings=256,
    ),
    "qwen2": dict(
        model_type="qwen2", vocab_size=311, hidden_size=48, intermediate_size=50, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, rms_norm_eps=1e-3,
        rope_parameters={"rope_type": "default", "rope_theta": 200.0}, use_sliding_window=False,
        tie_word_embeddings=False, bos_token_id=None, eos_token_id=2, pad_token_id=0, max_position_embeddings=256,
    ),
    "qwen3": dict(
        model_type="qwen3", vocab_size=311, hidden_size=32, intermediate_size=54, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=14, rms_norm_eps=1e-4,
        rope_parameters={"rope_type": "default", "rope_theta": 150.0}, use_sliding_window=False,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=2, pad_token_id=0, max_position_embeddings=256,
    ),
}

# A value that a wrong program would have used instead; golden.json says how far each moves the logits.
ABLATIONS = {
    "gemma2": {
        "no window": {"sliding_window": 512},
        "window one too wide": {"sliding_window": 6},
        "windows on the other layers": {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
        "no attention soft-cap": {"attn_logit_softcapping": None},
        "no final soft-cap": {"final_logit_softcapping": None},
        "scale by head_dim": {"query_pre_attn_scalar": 10},
        "rope theta 1e4": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        "eps 1e-6": {"rms_norm_eps": 1e-6},
        "silu for gelu": {"hidden_activation": "silu"},
        "erf gelu for tanh gelu": {"hidden_activation": "gelu"},
    },
    "gemma3": {
        "no window": {"sliding_window": 512},
        "window one too wide": {"sliding_window": 6},
        "pattern 6": {"layer_types": ["full_attention" if i % 6 == 5 else "sliding_attention" for i in range(7)]},
        "global theta everywhere": {
            "rope_parameters": {k: {"rope_type": "default", "rope_theta": 900.0} for k in ("full_attention", "sliding_attention")}
        },
        "local theta everywhere": {
            "rope_parameters": {k: {"rope_type": "default", "rope_theta": 20.0} for k in ("full_attention", "sliding_attention")}
        },
        "scale by head_dim": {"query_pre_attn_scalar": 12},
        "eps 1e-6": {"rms_norm_eps": 1e-6},
        "erf gelu for tanh gelu": {"hidden_activation": "gelu"},
    },
    "qwen2": {
        "rope theta 1e4": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        "eps 1e-6": {"rms_norm_eps": 1e-6},
        "a window though use_sliding_window is false": {
            "use_sliding_window": True, "sliding_window": 5, "layer_types": ["sliding_attention"] * 3,
        },
    },
    "qwen3": {
        "rope theta 1e4": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        "eps 1e-6": {"rms_norm_eps": 1e-6},
    },
}


def main(families):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    for family in families:
        make_checkpoint(family)
        report = make_golden(family)
        error = report["float32_error"]
        print(
            f"{family}: {report['parameters']} parameters, L = {report['loss']:.6f}, float32 against float64: logits {error['logits']:.1e}, "
            f"worst gradient {error['worst_gradient']:.1e}; least ablation {min(report['ablations'].values()):.1e}; "
            f"greedy margins {[round(g['min_margin'], 4) for g in report['greedy']]}"
        )


def end_of(family):
    end = FAMILIES[family]["eos_token_id"]
    return end[-1] if isinstance(end, list) else end


def folder(family):
    return os.path.join(HERE, "models", family)


def load(family, dtype=torch.float32):
    """The saved checkpoint, eager attention, weights widened to `dtype`; use a float64 one inside `InDouble`."""
    if dtype == torch.float32:
        return AutoModelForCausalLM.from_pretrained(folder(family), dtype=dtype, attn_implementation="eager").eval()
    assert dtype == torch.float64
    single = load(family)
    with InDouble():
        model = AutoModelForCausalLM.from_config(single.config, attn_implementation="eager").double().eval()
    model.load_state_dict(single.state_dict())
    assert all(t.dtype == torch.float64 for t in [*model.parameters(), *model.buffers()])
    return model


# ---------------------------------------------------------------------------------------------------------------- the checkpoint


def make_checkpoint(family):
    shutil.rmtree(folder(family), ignore_errors=True)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**FAMILIES[family]))
    fill(model, SEED + list(FAMILIES).index(family), end_of(family), plain_norms=family.startswith("qwen"))
    if family == "gemma3":
        model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        **{key: FAMILIES[family][key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if FAMILIES[family][key] is not None}
    )
    model.save_pretrained(folder(family), max_shard_size="170KB" if family == "qwen2" else "1GB")
    assert os.path.exists(f"{folder(family)}/model-00002-of-00002.safetensors") == (family == "qwen2")

    tokenizer = gemma_tokenizer() if family.startswith("gemma") else qwen_tokenizer()
    template = {"qwen2": "qwen2_5"}.get(family, family)
    with open(f"{HERE}/templates/{template}.jinja", encoding="utf-8") as file:
        tokenizer.chat_template = file.read()
    tokenizer.save_pretrained(folder(family))

    with open(f"{folder(family)}/config.json") as file:
        config = json.load(file)
    with open(f"{folder(family)}/config_old.json", "w") as file:
        json.dump(old_spelling(config), file, indent=2)
        file.write("\n")
    assert_old_spelling_is_equal(family)


def fill(model, seed, end, plain_norms):
    """Random weights, large enough that soft-caps and sharp attention matter; the norms' weights far from all zero or all one.

    The final norm's weights are of either sign: with a tied head, greedy decoding would otherwise repeat its last token for ever.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if name == "model.norm.weight":
                parameter.copy_(noise * 1.5)
            elif "norm" in name:
                parameter.copy_(noise * 0.3 + (1.0 if plain_norms else 0.0))
            elif name.endswith("bias"):
                parameter.copy_(noise * 0.5)
            elif "embed_tokens" in name or "lm_head" in name:
                noise[end] *= 1.6  # so that some prompt ends early
                parameter.copy_(noise * 0.3)
            else:
                parameter.copy_(noise * 0.25)


def old_spelling(config):
    """config.json as the libraries of 2024 wrote it."""
    config = {key: value for key, value in config.items() if key not in ("layer_types", "_sliding_window_pattern", "use_bidirectional_attention")}
    rope = config.pop("rope_parameters")
    if config["model_type"] == "gemma3_text":
        config["rope_theta"] = rope["full_attention"]["rope_theta"]
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["rope_scaling"] = None
        config["sliding_window_pattern"] = 3
    else:
        config["rope_theta"] = rope["rope_theta"]
    if config["model_type"].startswith("gemma"):
        config["cache_implementation"] = "hybrid"
    if config["model_type"] == "gemma2":
        config["hidden_act"] = config["hidden_activation"]
    if config["model_type"] == "qwen2":
        config["sliding_window"], config["use_mrope"] = 5, False  # a window that use_sliding_window = false switches off
    if config["model_type"] == "qwen3":
        config["rope_scaling"] = None
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.51.0"
    return dict(sorted(config.items()))


def assert_old_spelling_is_equal(family):
    with tempfile.TemporaryDirectory() as old:
        shutil.copytree(folder(family), old, dirs_exist_ok=True)
        shutil.move(f"{old}/config_old.json", f"{old}/config.json")
        model = AutoModelForCausalLM.from_pretrained(old, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.arange(10, 41)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, load(family)(ids).logits), f"{family}: the two spellings differ"


# -------------------------------------------------------------------------------------------------------------- the golden values


def make_golden(family):
    generator = torch.Generator().manual_seed(SEED + 100 + list(FAMILIES).index(family))
    vocab_size = FAMILIES[family]["vocab_size"]
    sequences = [torch.randint(0, vocab_size, (length,), generator=generator) for length in LENGTHS]
    weights = [random_weights(length - 1, generator) for length in LENGTHS]

    single = golden_pass(load(family), sequences, weights)
    double_model = load(family, torch.float64)
    with InDouble(), assert_no_float32():
        double = golden_pass(double_model, sequences, [w.double() for w in weights])

    tensors = {}
    for i, (ids, weight) in enumerate(zip(sequences, weights)):
        tensors |= {f"ids.{i}": ids, f"weights.{i}": weight, f"logits.{i}": single["logits"][i]}
    tensors |= {f"hidden.2.{layer}": state for layer, state in enumerate(single["hidden"])}
    tensors |= {f"grad.{name}": grad for name, grad in single["grads"].items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, f"{folder(family)}/golden.safetensors")

    gradient_errors = {
        name: relative(single["grads"][name], grad) for name, grad in double["grads"].items()
    }
    report = {
        "made_by": "models.py",
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "seed": SEED,
        "parameters": sum(grad.numel() for grad in single["grads"].values()),
        "lengths": LENGTHS,
        "loss": single["loss"],
        "loss_float64": double["loss"],
        "float32_error": {
            "logits": max((a - b).abs().max().item() for a, b in zip(single["logits"], double["logits"])),
            "logprobs": max((a.double().log_softmax(-1) - b.log_softmax(-1)).abs().max().item() for a, b in zip(single["logits"], double["logits"])),
            "loss": abs(single["loss"] - double["loss"]),
            "hidden": max((a - b).abs().max().item() for a, b in zip(single["hidden"], double["hidden"])),
            "worst_gradient": max(gradient_errors.values()),
            "whole_gradient": relative(
                torch.cat([g.flatten() for g in single["grads"].values()]), torch.cat([g.flatten() for g in double["grads"].values()])
            ),
            "gradients": gradient_errors,
        },
        "grad_norm": {name: grad.norm().item() for name, grad in double["grads"].items()},
        "max_abs_logit": max(logits.abs().max().item() for logits in single["logits"]),
        "ablations": ablations(family, sequences[-1], single["logits"][-1]),
        "greedy": greedy(family),
        "texts": [{"text": text, "ids": tokenizer_of(family)(text)["input_ids"]} for text in TEXTS],
    }
    with open(f"{folder(family)}/golden.json", "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1, ensure_ascii=False)
        file.write("\n")
    return report


def random_weights(count, generator):
    """The weight of each predicted token in the loss: either sign, about a third of them zero, the first never."""
    weights = torch.randn(count, generator=generator)
    weights[1:][torch.rand(count - 1, generator=generator) < 0.35] = 0.0
    return weights


def golden_pass(model, sequences, weights):
    """Logits of each sequence, L = sum_i sum_t weights[i][t] * log p(ids[i][t+1] | ids[i][..=t]), and dL/dparameter of every one."""
    model.zero_grad()
    all_logits, hidden, loss = [], [], 0.0
    for i, (ids, weight) in enumerate(zip(sequences, weights)):
        out = model(ids[None], output_hidden_states=True, use_cache=False)
        logprobs = out.logits[0, :-1].log_softmax(-1)
        loss = loss + (weight * logprobs.gather(-1, ids[1:, None])[:, 0]).sum()
        all_logits.append(out.logits[0].detach())
        if i == 2:
            hidden = [state[0].detach() for state in out.hidden_states]
    loss.backward()
    grads = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return {"logits": all_logits, "hidden": hidden, "loss": loss.item(), "grads": grads}


def relative(single, double):
    return ((single.double() - double).norm() / double.norm()).item()


def ablations(family, ids, logits):
    moved = {}
    for name, change in ABLATIONS[family].items():
        config = AutoConfig.for_model(**{**FAMILIES[family], **change})
        wrong = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        wrong.load_state_dict({key: value.float() for key, value in load(family).state_dict().items()})
        moved[name] = distance(wrong, ids, logits)
    for name, select in [
        ("a norm's weights one", lambda key: "layers.0" in key and "norm" in key),
        ("no q/k norms' weights", lambda key: "q_norm" in key or "k_norm" in key),
        ("no biases", lambda key: key.endswith("bias")),
    ]:
        wrong = load(family)
        chosen = [parameter for key, parameter in wrong.named_parameters() if select(key)]
        for parameter in chosen:
            parameter.data.fill_(1.0 if "qwen" in family and "bias" not in name else 0.0)
        if chosen:
            moved[name] = distance(wrong, ids, logits)
    assert min(moved.values()) > 1e-3, f"{family}: a feature does not bite: {moved}"
    return moved


def distance(model, ids, logits):
    with torch.no_grad():
        return (model(ids[None]).logits[0] - logits).abs().max().item()


def tokenizer_of(family):
    return AutoTokenizer.from_pretrained(folder(family))


def greedy(family):
    """transformers' own greedy continuations (with its cache), each new token's margin over the runner-up from a run without cache.

    Two run to their full length through varied tokens, one ends early (Gemma 3: at the second of its two ends).
    """
    model, tokenizer = load(family), tokenizer_of(family)

    def first(series, wanted):
        for number in range(300):
            result = continuation(model, tokenizer, series.format(number=number))
            if result["min_margin"] > 0.01 and wanted(result["ids"]):
                return result
        raise AssertionError(f"{family}: nothing to show in {series!r}")

    varied = lambda ids: len(ids) == MAX_NEW_TOKENS and len(set(ids)) >= 8
    ending = lambda ids: ids[-1] == end_of(family) and 4 <= len(ids) <= MAX_NEW_TOKENS - 4
    return [first(series, varied) for series in LONG_RUNS] + [first(ENDING_RUN, ending)]


def continuation(model, tokenizer, prompt):
    prompt_ids = tokenizer(prompt)["input_ids"]
    whole = model.generate(
        torch.tensor([prompt_ids]), attention_mask=torch.ones(1, len(prompt_ids)), max_new_tokens=MAX_NEW_TOKENS, do_sample=False
    )
    ids = whole[0, len(prompt_ids) :].tolist()
    with torch.no_grad():
        logits = model(whole[:, :-1], use_cache=False).logits[0, len(prompt_ids) - 1 :]
    assert logits.argmax(-1).tolist() == ids, f"cached and uncached decoding differ on {prompt!r}"
    best = logits.topk(2).values
    margins = (best[:, 0] - best[:, 1]).tolist()
    return {"prompt": prompt, "prompt_ids": prompt_ids, "ids": ids, "min_margin": min(margins), "margins": margins}


if __name__ == "__main__":
    main(sys.argv[1:] or list(FAMILIES))
