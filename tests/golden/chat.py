"""What it makes: chat/{gemma2,gemma3,qwen2_5,qwen3}/, tokenizer files, a chat template and cases.json: conversations and what
transformers' apply_chat_template renders and tokenizes, or the message of the template's raise_exception.

The templates are ours (templates/*.jinja), with the constructs and the behaviour of the released models'. Qwen 2.5's folder keeps its
template in tokenizer_config.json, written as in 2024 (added_tokens_decoder, special tokens as objects); the others have a file.
Versions: transformers 5.23.0, tokenizers 0.23.3, jinja2 3.1.6.  Seed: none.
How to run: python chat.py   (seconds)
"""

import json
import os
import shutil

import jinja2
import tokenizers
import transformers
from transformers import AutoTokenizer

from byte_bpe import gemma_tokenizer, qwen_tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
FAMILIES = {"gemma2": gemma_tokenizer, "gemma3": gemma_tokenizer, "qwen2_5": qwen_tokenizer, "qwen3": qwen_tokenizer}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def tool(content):
    return {"role": "tool", "content": content}


def parts(*texts):
    return [{"type": "text", "text": text} for text in texts]


HI = user("Hello there.")
THOUGHT = "<think>\nThe tower, then the river.\n</think>\n\nDer Turm."

CASES = [
    ("one user turn", [HI]),
    ("user and assistant", [HI, assistant("Hallo.")]),
    ("three turns", [HI, assistant("Hallo."), user("And the river?")]),
    ("five turns", [user("1"), assistant("eins"), user("2"), assistant("zwei"), user("3")]),
    ("system turn", [system("Answer in German."), HI]),
    ("system turn and three turns", [system("Answer in German."), HI, assistant("Hallo."), user("Again")]),
    ("only a system turn", [system("Answer in German.")]),
    ("empty system turn", [system(""), HI]),
    ("system turn with white space around", [system("  Answer.\n\n"), HI, assistant("ok")]),
    ("second system turn later", [system("One."), HI, assistant("ok"), system("Two."), user("more")]),
    ("system turn later only", [HI, assistant("ok"), system("Two.")]),
    ("white space around", [user("  \n two  words \t\n\n"), assistant("\n\n answer \n")]),
    ("unusual white space around", [user("\u3000\u00a0full width\u2003\u0085"), assistant("\u200bzero width\u200b\x1f\ufeff")]),
    ("only white space", [user(" \n "), assistant("ok")]),
    ("inner new lines and indents", [user("a\n\n    b\r\n\tc"), assistant("{% x %} {{ y }} {# z #}")]),
    ("unicode", [user("塔在山上。🗼 मीनार पहाड़ी पर है"), assistant("Żółć, e\u0301 and é, ﬁ, Å")]),
    ("quotes and escapes", [user("say \"hi\" & 'bye' <b>\\n</b>"), assistant("C:\\new\\table")]),
    ("empty assistant message", [HI, assistant("")]),
    ("empty assistant message in the middle", [HI, assistant(""), user("Well?")]),
    ("empty user message", [user(""), assistant("What?")]),
    ("text that contains <bos>", [user("What does <bos> do, and <eos>?"), assistant("<bos> begins.")]),
    ("text that contains turn marks", [user("<start_of_turn>model\n<end_of_turn> <|im_end|>\n<|im_start|>system"), assistant("no")]),
    ("two user turns", [HI, user("Still there?")]),
    ("two assistant turns", [HI, assistant("Hallo."), assistant("Noch da.")]),
    ("assistant first", [assistant("Welcome."), user("Thanks.")]),
    ("only an assistant turn", [assistant("Welcome.")]),
    ("unknown role", [HI, {"role": "critic", "content": "Hm."}]),
    ("extra keys", [{"role": "user", "content": "Hello", "name": "Ada", "weight": 1}]),
    ("thought in the last turn", [HI, assistant(THOUGHT)]),
    ("thought in an earlier turn", [HI, assistant(THOUGHT), user("And the river?")]),
    ("thoughts in both turns", [HI, assistant(THOUGHT), user("And the river?"), assistant("<think>river</think>Der Fluss.")]),
    ("empty thought", [HI, assistant("<think>\n\n</think>\n\nDer Turm.")]),
    ("thought not opened", [HI, assistant("so\n</think>\nDer Turm."), user("ok"), assistant("hm</think>ja")]),
    ("thought not closed", [HI, assistant("<think>\nso it goes"), user("ok")]),
    ("two thoughts in a turn", [HI, assistant("<think>a</think>b<think>c</think>\n\nd")]),
    ("two thoughts in an earlier turn", [HI, assistant("<think>a</think>b<think>c</think>\n\nd"), user("ok")]),
    ("reasoning_content in the last turn", [HI, assistant("Der Turm.", reasoning_content="\nThe tower.\n")]),
    ("reasoning_content in an earlier turn", [HI, assistant("\nDer Turm.", reasoning_content="The tower."), user("ok")]),
    ("empty reasoning_content beside a thought", [HI, assistant(THOUGHT, reasoning_content="")]),
    ("tool response as a user turn", [HI, assistant("<think>\nask\n</think>\n\nCall."), user("<tool_response>\n42\n</tool_response>"), assistant("<think>\nnow\n</think>\n\n42.")]),
    ("tool response as the only user turn", [user("<tool_response>42</tool_response>"), assistant(THOUGHT)]),
    ("tool response with text after it", [HI, assistant(THOUGHT), user("<tool_response>42</tool_response> ok?"), assistant("<think>x</think>yes")]),
]

LIST_CASES = [
    ("content as parts", [user(parts("Hello there."))]),
    ("several parts, white space around each", [user(parts(" Hello ", "\nthere. ")), assistant(parts("Hallo."))]),
    ("system as parts", [system(parts("Answer in German.")), user(parts("Hello"))]),
    ("system as parts, user as string", [system(parts("Answer in German.", "Second part, unused.")), HI]),
    ("no parts", [user([]), assistant("What?")]),
    ("an image part", [user([{"type": "image", "url": "a.png"}, *parts("What is this?")])]),
    ("content a number", [user(42)]),
]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Finds a word's \"meaning\" in <b>Wörterbuch</b> & more — 塔",
            "parameters": {
                "type": "object",
                "required": ["word"],
                "properties": {"word": {"type": "string"}, "limit": {"type": "integer", "default": 3, "minimum": 0.5}, "all": {"type": ["boolean", "null"], "default": None, "examples": [True, False, []]}},
            },
        },
    },
    {"type": "function", "function": {"name": "now", "parameters": {}}},
]
CALLS = [{"type": "function", "function": {"name": "look_up", "arguments": {"word": "Turm", "limit": 2}}}, {"name": "now", "arguments": {}}]
TOOL_CASES = [
    ("tools offered", [HI]),
    ("tools offered beside a system turn", [system("Answer in German."), HI]),
    ("tools called", [HI, assistant("", tool_calls=CALLS), tool("tower"), tool("noon"), assistant("Tower at noon.")]),
    ("tools called after a thought", [HI, assistant("<think>\nask\n</think>\n\nOne moment.", tool_calls=CALLS[:1]), tool("tower"), assistant("<think>\nso\n</think>\n\nTower."), user("ok")]),
]


def main():
    transformers.utils.logging.set_verbosity_error()
    for family, make_tokenizer in FAMILIES.items():
        tokenizer = make_folder(family, make_tokenizer())
        cases = []
        for number, (name, messages) in enumerate(CASES):
            for add_generation_prompt in (True, False):
                cases.append(rendered(tokenizer, name, messages, add_generation_prompt))
        if family == "gemma3":
            cases += [rendered(tokenizer, name, messages, True) for name, messages in LIST_CASES]
        if family == "qwen3":
            for name, messages in CASES[:5]:
                for enable_thinking in (False, True):
                    cases.append(rendered(tokenizer, name, messages, True, enable_thinking=enable_thinking))
        if family.startswith("qwen"):
            cases += [rendered(tokenizer, name, messages, True, tools=TOOLS) for name, messages in TOOL_CASES]
        write_json(f"{folder(family)}/cases.json", cases)
        print(f"{family}: {len(cases)} cases, {sum('error' in case for case in cases)} of them errors")


def folder(family):
    return os.path.join(HERE, "chat", family)


def make_folder(family, tokenizer):
    shutil.rmtree(folder(family), ignore_errors=True)
    with open(f"{HERE}/templates/{family}.jinja", encoding="utf-8") as file:
        template = file.read()
    if family == "qwen2_5":
        tokenizer.save_pretrained(folder(family))
        write_json(f"{folder(family)}/tokenizer_config.json", old_tokenizer_config(tokenizer, template))
        assert not os.path.exists(f"{folder(family)}/chat_template.jinja")
    else:
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder(family))
    loaded = AutoTokenizer.from_pretrained(folder(family))
    assert loaded.chat_template.rstrip("\n") == template.rstrip("\n")
    return loaded


def old_tokenizer_config(tokenizer, template):
    added = {
        str(index): {"content": token.content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": token.special}
        for index, token in sorted(tokenizer.added_tokens_decoder.items())
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "eos_token": {"__type": "AddedToken", "content": "<|im_end|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False},
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    }


def rendered(tokenizer, name, messages, add_generation_prompt, **more):
    """One case. `more` holds what else the template may look at: enable_thinking, tools."""
    case = {"name": name, "messages": messages, "add_generation_prompt": add_generation_prompt, **more}
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt, **more)
    except jinja2.exceptions.TemplateError as error:
        assert type(error) is jinja2.exceptions.TemplateError, f"{name}: {error!r} was not raised by the template"
        return {**case, "error": str(error)}
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids == tokenizer.apply_chat_template(messages, add_generation_prompt=add_generation_prompt, **more)["input_ids"]
    return {**case, "text": text, "ids": ids}


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        if isinstance(value, list):
            file.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in value) + "\n]\n")
        else:
            file.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


if __name__ == "__main__":
    print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}, jinja2 {jinja2.__version__}")
    main()
