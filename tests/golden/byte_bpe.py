"""What it makes: the two tiny byte-level BPE tokenizers (300 ids) that models.py and chat.py save beside their values.

Gemma-like: <bos> is put in front by the post-processor, as the released Gemma tokenizers do (so a program that adds its own gets two).
Qwen-like: NFC normalization and a Split pre-tokenizer with a look-ahead, as the released Qwen tokenizers have; no BOS; <think> and
</think> are added tokens that are not special, at the end of the vocabulary.
Versions: tokenizers 0.23.3, transformers 5.23.0.  Seed: none, training is deterministic.  How to run: it is imported, never run.
"""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCAB_SIZE = 300

CORPUS = [
    "The tower stands on the hill, and the river runs below the tower.",
    "Translate the following text from English to German.",
    "A translation keeps what the source says; the reader keeps the rest.",
    "Der Turm steht auf dem Hügel, und der Fluss fließt unter dem Turm.",
    "Die Übersetzung behält, was der Text sagt.",
    "A torre fica no morro e o rio corre por baixo da torre.",
    "La tour se dresse sur la colline et la rivière coule en contrebas.",
    "塔在山上,河在塔下。翻译保留原文的意思。",
    "मीनार पहाड़ी पर है और नदी नीचे बहती है।",
    "What is the answer? The answer is 42, or so they say.",
]

# The constructs of the usual pre-tokenizers in a shorter form: letters with one leading sign, single digits, runs of signs, and
# white space whose last blank stays with the next word (the look-ahead that a plain regex engine lacks).
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def trained(special_tokens, vocab_size, normalizer, pre_tokenizer):
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=special_tokens,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return tokenizer


def gemma_tokenizer():
    tokenizer = trained(
        ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
        VOCAB_SIZE,
        None,
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
    )
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", clean_up_tokenization_spaces=False
    )


def qwen_tokenizer():
    tokenizer = trained(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        VOCAB_SIZE - 2,
        normalizers.NFC(),
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
    )
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ("<think>", "</think>")])
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )
