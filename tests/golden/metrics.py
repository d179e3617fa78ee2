"""What it makes: metrics.json, sacreBLEU's chrF2, chrF2++ and BLEU on varied pairs and on corpora made of them.

For each pair: sentence chrF and chrF++, sentence BLEU (13a, effective order), and what the tokenizers 13a, zh and char make of the
hypothesis. For each corpus (indices into the pairs): BLEU under four tokenizers with its parts, chrF and chrF++.
Versions: sacrebleu 2.6.0.  Seed: none.
How to run: python metrics.py   (seconds)
"""

import json
import os

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENIZERS = ("13a", "zh", "char", "none")

# (hypothesis, reference, what the pair is for)
PAIRS = [
    ("The tower stands on the hill.", "The tower stands on the hill.", "equal"),
    ("The tower is standing on a hill.", "The tower stands on the hill.", "close"),
    ("Below it the river runs.", "The tower stands on the hill.", "nothing but letters in common"),
    ("the the the the the the the", "The cat is on the mat, the mat is red.", "clipped counts"),
    ("The tower", "The tower stands on the hill, and the river runs below the tower.", "short: brevity penalty"),
    ("The tower stands on the hill, and the river runs below the tower, as it always has.", "The tower stands on the hill.", "long"),
    ("THE TOWER STANDS", "the tower stands", "case matters"),
    ("", "The tower stands.", "empty hypothesis"),
    ("The tower stands.", "", "empty reference"),
    ("", "", "both empty"),
    (" \t ", "tower", "a hypothesis of white space"),
    ("a", "a", "one character, equal"),
    ("a", "b", "one character, different"),
    ("a", "The tower", "one character against words"),
    ("塔", "塔", "one Chinese character"),
    ("!", "!", "one sign"),
    ("  The   tower\tstands  ", "The tower stands", "white space does not matter"),
    ("Thetowerstands", "The tower stands", "no white space: chrF equal, chrF++ not"),
    ("The\u00a0tower\u3000stands\u2028here", "The tower stands here", "white space beyond ASCII"),
    ("He said: \"No!\" (twice), didn't he?", "He said 'No' (twice), did he not?", "punctuation"),
    ("(hi) 'hi' hi!! ...hi -", "hi (hi) hi! hi... -", "chrF++ strips one sign of one side"),
    ("It costs 1,234.56 dollars, or 3.5%.", "It costs 1,234.56 dollars or 3.5 %.", "digits around points and commas"),
    ("In 1990-2000, A-B was 5-3; see p.7,8.", "In 1990 - 2000, A-B was 5 - 3; see p. 7, 8.", "dashes after digits"),
    ("&quot;Fish &amp; chips&quot; &lt;b&gt; <skipped> &apos;", "\"Fish & chips\" <b> '", "entities and <skipped>"),
    ("a_b {c} [d] ~e~ `f` ^g^ x=y/z+1*2#3@4$5", "a _ b { c } [ d ] ~ e ~ ` f ` ^ g ^", "every ASCII sign"),
    ("The tow- er and the well-known end", "The tower and the well known end", "hyphens"),
    ("塔在山上,河在塔下。", "塔在山上，河在塔下。", "Chinese, half-width comma"),
    ("翻译保留了原文的意思。", "译文保留原文的意思。", "Chinese"),
    ("我在2024年买了3.5公斤苹果 (Apple)。", "2024年我买了3.5公斤苹果（Apple）。", "Chinese with digits and Latin"),
    ("今天天气很好", "明天会下雨吗?", "Chinese, hardly a match"),
    ("“It’s — well… 5 €”, he said → end", "\"It's - well... 5 EUR\", he said -> end", "signs U+2000..U+2A6D, which sacreBLEU's zh splits"),
    ("𠀀𠮷野家 and ㄅㄆ ⺀ ⼀", "𠀀𠮷野家 和 ㄅㄆ ⺀ ⼀", "ideographs beyond the first plane"),
    ("मीनार पहाड़ी पर है और नदी नीचे बहती है।", "मीनार पहाड़ी पर खड़ी है, और नदी उसके नीचे बहती है।", "Hindi"),
    ("नदी", "नदियाँ", "one Hindi word"),
    ("塔は丘の上に立っています。", "塔は丘の上に立つ。", "Japanese"),
    ("탑은 언덕 위에 서 있다.", "탑이 언덕 위에 있다.", "Korean"),
    ("الأبراج على التل، والنهر تحتها.", "البرج على التل، والنهر يجري تحته.", "Arabic"),
    ("Башня стоит на холме.", "Башня стояла на холме!", "Russian"),
    ("Der Turm steht auf dem Hügel; der Fluß fließt unten.", "Der Turm steht auf dem Hügel, der Fluss fließt darunter.", "German"),
    ("cafe\u0301 na\u00efve", "caf\u00e9 na\u00efve", "composed and decomposed are different"),
    ("👩‍👩‍👧 went 🗼🗼", "👩 went 🗼", "emoji of several code points"),
    ("line one\nline two-\nthree", "line one line twothree", "new lines inside"),
]

CORPORA = {
    "all": range(len(PAIRS)),
    "western": [0, 1, 2, 3, 4, 5, 6, 19, 20, 21, 22, 23, 24, 25, 37, 38],
    "chinese": [14, 26, 27, 28, 29, 30, 31],
    "other scripts": [32, 33, 34, 35, 36, 37],
    "with empty lines": [0, 7, 8, 9, 10, 5],
    "only empty": [9, 9],
    "empty hypotheses": [7, 7],
    "empty references": [8, 8],
    "one equal pair": [0],
    "one short pair": [11],
    "no match at all": [12],
    "three short pairs": [6, 16, 17],
    "close": [1],
    "white space": [16, 17, 18, 10],
}


def main():
    chrf, chrf_plus, sentence_bleu = CHRF(), CHRF(word_order=2), BLEU(effective_order=True)
    pairs = []
    for hypothesis, reference, purpose in PAIRS:
        pairs.append({
            "hypothesis": hypothesis, "reference": reference, "for": purpose,
            "chrf": chrf.sentence_score(hypothesis, [reference]).score,
            "chrf++": chrf_plus.sentence_score(hypothesis, [reference]).score,
            "sentence_bleu": sentence_bleu.sentence_score(hypothesis, [reference]).score,
            "tokenized": {name: BLEU(tokenize=name).tokenizer(hypothesis.rstrip()) for name in TOKENIZERS if name != "none"},
        })  # fmt: skip
    corpora = []
    for name, indices in CORPORA.items():
        hypotheses, references = ([PAIRS[i][side] for i in indices] for side in (0, 1))
        case = {"name": name, "pairs": list(indices), "bleu": {}}
        for tokenizer in TOKENIZERS:
            bleu = BLEU(tokenize=tokenizer, force=True)
            score = bleu.corpus_score(hypotheses, [references])
            case["bleu"][tokenizer] = {
                "score": score.score, "signature": str(bleu.get_signature()), "counts": score.counts, "totals": score.totals,
                "precisions": score.precisions, "bp": score.bp, "sys_len": score.sys_len, "ref_len": score.ref_len,
            }  # fmt: skip
        for key, word_order in (("chrf", 0), ("chrf++", 2)):
            metric = CHRF(word_order=word_order)
            case[key] = {"score": metric.corpus_score(hypotheses, [references]).score, "signature": str(metric.get_signature())}
        corpora.append(case)
    values = {"made_by": "metrics.py", "versions": {"sacrebleu": sacrebleu.__version__}, "pairs": pairs, "corpora": corpora}
    with open(f"{HERE}/metrics.json", "w", encoding="utf-8") as file:
        file.write(json.dumps(values, ensure_ascii=False, indent=1) + "\n")
    print(f"sacrebleu {sacrebleu.__version__}: {len(pairs)} pairs, {len(corpora)} corpora")


if __name__ == "__main__":
    main()
