"""Makes cases.json: segments that try every corner of sacreBLEU, with its scores.

Usage: pip install sacrebleu==2.6.0 && python make.py [SEED [CASES]] > cases.json     (the file kept: seed 7, 40 cases, Python 3.11)
"""
import json, random, sys
import sacrebleu

SEED, CASES = int((sys.argv + [7])[1]), int((sys.argv + [7, 40])[2])
rng = random.Random(SEED)
LATIN = "the old Tower stands by a lake ; since 1,234.50 years -- 3-4 U.S. e.g. (it) \"is\" cold! naïve café l'eau d'un 50% A/B x=y [z] {w} <b> &amp; &lt; &quot; &amp;lt; <skipped> a- -b .5 5. ,, .. 1.2.3 $5 _ ` ~ @me".split()
CHINESE = list("这座古老的石塔矗立在河边，没有人知道为什么。“”…–—２！（）𠀀𪛖㐀豈、") + ["GPT-4", "3.5", "2,000", "of"]
JAPANESE = list("古い塔は川のそばに立っている。誰も理由を知らないｶﾀｶﾅ") + ["AI", "10"]
HINDI = "पुराना मीनार नदी के पास खड़ा है और कोई नहीं जानता क्यों । १२३".split()
SPACES = [" "] * 30 + ["  ", "\t", "\u00a0", "\u3000", "\u2009", "\x1c", "\x1f", "\x85", "\u200b", "-\n", "\n"]
DEGENERATE = ["", " ", ".", "a", "a a a a a a", "!!", "(hi)", "\"", "塔", "\u3000", "&", "-\n", "1", "1-", ",1,"]

def segment(words, joiner):
    return "".join(w + joiner() for w in rng.choices(words, k=rng.randint(1, 18)))

def disturb(text, words):
    parts = list(text) if rng.random() < 0.3 else text.split(" ")
    for _ in range(rng.randint(0, 4)):
        i = rng.randrange(len(parts) + 1)
        parts[i:i + rng.randint(0, 2)] = rng.choices(words, k=rng.randint(0, 2))
    return (" " if " " in text else "").join(parts)

def case(n):
    words, joiner = [(LATIN, lambda: rng.choice(SPACES)), (CHINESE, lambda: rng.choice([""] * 9 + SPACES[-12:])),
                     (JAPANESE, lambda: ""), (HINDI, lambda: " "), (LATIN + CHINESE, lambda: rng.choice(SPACES))][n % 5]
    refs = [[segment(words, joiner) for _ in range(rng.randint(1, 3) if n % 3 == 0 else 1)] for _ in range(5)]
    hyp = [disturb(rng.choice(r), words) for r in refs]
    for i in range(2):
        hyp[i] = rng.choice(DEGENERATE) if rng.random() < 0.5 else hyp[i]
        refs[i][0] = rng.choice(DEGENERATE) if rng.random() < 0.5 else refs[i][0]
    tokenize = rng.choice(["13a", "13a", "zh", "char", "none"])
    width = max(map(len, refs))
    documents = [[r[k] if k < len(r) else None for r in refs] for k in range(width)]
    bleu, sentence = sacrebleu.BLEU(tokenize=tokenize), sacrebleu.BLEU(tokenize=tokenize, effective_order=True)
    chrf, chrfpp = sacrebleu.CHRF(), sacrebleu.CHRF(word_order=2)
    out = dict(tokenize=tokenize, hyp=hyp, ref=refs)
    for name, metric in (("bleu", bleu), ("chrf", chrf), ("chrf++", chrfpp)):
        out[name] = metric.corpus_score(hyp, documents).score
        out[name + " signature"] = str(metric.get_signature())
    for name, metric in (("bleu", sentence), ("chrf", chrf), ("chrf++", chrfpp)):
        out["sentence_" + name] = [metric.sentence_score(h, r).score for h, r in zip(hyp, refs)]
    return out

print("[\n" + ",\n".join(json.dumps(case(n), ensure_ascii=False) for n in range(CASES)) + "\n]")
