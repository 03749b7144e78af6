"""ROUGE, BLEU and chrF on random pairs against rouge-score and sacrebleu: equal, and ROUGE 50 times faster.

A pair is a reference of 20 to 300 words (each length as likely) and an answer: a third have words of their own, 20 to
300; a third repeat the reference with a tenth to a half of its words changed, dropped, doubled or moved; a third begin
as the reference and go on otherwise. Words are drawn from 8,000 that were made up, the k-th as often as 1/k (Zipf), with
capitals, punctuation, numbers and line breaks; one word in fifty is not ASCII. Times are CPU seconds of this process,
of the same pairs; garbage collection is on for both.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import Goal, report

PAIRS, QUICK_PAIRS = 10_000, 500
CORPUS = 2_000  # pairs that sacrebleu scores: it takes 7 ms each for both figures
KINDS = ("rouge1", "rouge2", "rougeL")
SEED = 20_261_128
_FOREIGN = ("über", "naïve", "İstanbul", "磁盘", "диск", "Kelvin", "ﬁle", "10 µs", "—", "👍", "Straße")


def measure(quick: bool) -> list[Goal]:
    """Scores the pairs both ways; `--quick`: fewer pairs."""
    import numpy as np
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    from flytewheel.evaluation.text.bleu import bleu, count_bleu
    from flytewheel.evaluation.text.chrf import chrf, count_chrf
    from flytewheel.evaluation.text.rouge import score_rouge

    answers, references = make_pairs(QUICK_PAIRS if quick else PAIRS, SEED)
    scorer = RougeScorer(list(KINDS))
    score_rouge(answers[:2], references[:2])  # both are imported and warm
    scorer.score(references[0], answers[0])
    ours, our_s = _time(lambda: score_rouge(answers, references))
    pairs = list(zip(references, answers, strict=True))
    theirs, their_s = _time(lambda: [scorer.score(wanted, said) for wanted, said in pairs])
    table = np.array([[[one[k].precision, one[k].recall, one[k].fmeasure] for k in KINDS] for one in theirs])
    print(
        f"{len(pairs):,} pairs, {sum(map(len, map(str.split, answers + references))) / len(pairs):.0f} words each: "
        f"rouge-score {their_s / len(pairs) * 1e6:,.0f} µs a pair, score_rouge {our_s / len(pairs) * 1e6:,.0f} µs; "
        f"mean F1 {', '.join(f'{mean:.2f}' for mean in table[:, :, 2].mean(axis=0))}",
        flush=True,
    )
    some = slice(0, len(pairs) if quick else CORPUS)
    said, wanted = answers[some], references[some]
    bleus = float(bleu(count_bleu(said, wanted).sum(axis=0))), sacrebleu.corpus_bleu(said, [wanted]).score
    chrfs = float(chrf(count_chrf(said, wanted).sum(axis=0))), sacrebleu.corpus_chrf(said, [wanted]).score
    print(f"{len(said):,} of them: BLEU {bleus[1]:.3f}, chrF {chrfs[1]:.3f}", flush=True)
    return [
        Goal("ROUGE-1/2/L, largest difference to rouge-score", float(np.abs(ours - table).max()), 1e-12),
        Goal("ROUGE-1/2/L, times faster than rouge-score", their_s / our_s, 50, at_most=False),
        Goal("BLEU, difference to sacrebleu", abs(bleus[0] - bleus[1]), 1e-9),
        Goal("chrF, difference to sacrebleu", abs(chrfs[0] - chrfs[1]), 1e-9),
    ]


def make_pairs(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Answers and references, as the module's text says."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("etaoinshrdlucmfwypvbgk", k=rng.randint(1, 11))) for _ in range(8_000)]
    likely = [1 / place for place in range(1, len(words) + 1)]
    answers, references = [], []
    for number in range(count):
        wanted = _write(rng, words, likely)
        if number % 3 == 0:
            said = _write(rng, words, likely)
        elif number % 3 == 1:
            said = _change(rng, wanted, words)
        else:
            said = wanted[: rng.randrange(len(wanted))] + _write(rng, words, likely)[: rng.randint(1, 150)]
        answers.append(" ".join(said))
        references.append(" ".join(wanted))
    return answers, references


def _write(rng: random.Random, words: list[str], likely: list[float]) -> list[str]:
    return [_dress(rng, word) for word in rng.choices(words, likely, k=rng.randint(20, 300))]


def _dress(rng: random.Random, word: str) -> str:
    draw = rng.random()
    if draw < 0.02:
        return rng.choice(_FOREIGN)
    if draw < 0.05:
        return f"{rng.randrange(10_000)}"
    if draw < 0.15:
        return word.capitalize()
    return word + rng.choice((",", ".", "!\n", "-x", "'s", ":")) if draw < 0.3 else word


def _change(rng: random.Random, text: list[str], words: list[str]) -> list[str]:
    share, changed = rng.uniform(0.1, 0.5), []
    for word in text:
        draw = rng.random() / share
        changed += [word] if draw >= 1 else [rng.choice(words)] if draw < 0.4 else [word, word] if draw < 0.6 else []
    if len(changed) > 4:
        first, last = sorted(rng.sample(range(len(changed)), 2))
        changed = changed[last:] + changed[first:last] + changed[:first]
    return changed or text[:1]


def _time(run: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    found = run()
    return found, time.process_time() - began


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
