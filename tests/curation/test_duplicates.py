"""Near-duplicates against brute force and by hand."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from flytewheel.curation.duplicates import (
    PERMUTATIONS,
    RECALL,
    PromptText,
    choose_band_rows,
    cluster_prompts,
    describe_prompt,
    find_near,
    group_questions,
    measure_similarity,
    normalise,
)
from flytewheel.records import build_prompt

WORDS = [f"word{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrst"]


def make_texts(count: int, seed: int) -> list[PromptText]:
    """Random long questions, each with two neighbours in which one or two words at an end differ."""
    chance = random.Random(seed)
    texts = []
    for _ in range(count):
        words = chance.choices(WORDS, k=60)
        texts += [
            PromptText(" ".join(words)),
            PromptText(" ".join([*words, "again"])),
            PromptText(" ".join(["hi", "there", *words])),
        ]
    return texts


def test_similarity_by_hand() -> None:
    """abcde has trigrams abc bcd cde; abcdf has abc bcd cdf: 2 of 4 in common."""
    assert measure_similarity(PromptText("a b c d e"), PromptText("a b c d f")) == pytest.approx(0.5)
    assert measure_similarity(PromptText("a b c d e", "x"), PromptText("a b c d e", "y")) == 0.0
    assert measure_similarity(PromptText("a b"), PromptText("a b")) == 1.0


def test_bands_find_the_threshold() -> None:
    for similarity in (0.5, 0.7, 0.8, 0.9, 0.95):
        rows = choose_band_rows(similarity)
        assert 1 - (1 - similarity ** (2 * rows)) ** (PERMUTATIONS // rows) >= RECALL
    assert choose_band_rows(0.9) > choose_band_rows(0.7)


def test_clusters_equal_brute_force() -> None:
    texts = make_texts(60, seed=4)
    clusters = cluster_prompts(texts, 0.9)
    near = {(one.key, other.key): measure_similarity(one, other) >= 0.9 for one in texts for other in texts}
    assert any(near[one.key, other.key] for one in texts for other in texts if one != other)
    for (one, other), close in near.items():
        if close:
            assert clusters[one] == clusters[other]
    assert len(set(clusters.values())) == 60


def test_order_does_not_matter() -> None:
    texts = make_texts(30, seed=5)
    assert cluster_prompts(texts, 0.9) == cluster_prompts(texts[::-1], 0.9)
    assert cluster_prompts(texts * 2, 0.9) == cluster_prompts(texts, 0.9)


def test_another_process_gives_the_same_clusters() -> None:
    code = (
        "from flytewheel.curation.duplicates import PromptText, cluster_prompts\n"
        "base = ' '.join(f'w{n}' for n in range(50))\n"
        "texts = [PromptText(base), PromptText(base + ' x'), PromptText('other one')]\n"
        "print(sorted(cluster_prompts(texts, 0.9).items()))"
    )
    outs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outs) == 1


def test_one_runbook_with_two_questions_is_not_one_prompt() -> None:
    context = " ".join(WORDS[:80])
    one, other = (
        describe_prompt(build_prompt(q, context=context)) for q in ("how do I drain it", "who owns this service")
    )
    assert len(set(cluster_prompts([one, other], 0.9).values())) == 2


def test_normalised_prompts_are_one() -> None:
    one = describe_prompt(build_prompt("  How do I free the DISK?? ", system="be brief"), "be brief")
    assert one == describe_prompt(build_prompt("how do i  free the disk"))
    assert normalise("Ｆｕｌｌ width, 日本語!") == "full width 日 本 語"


def test_other_numbers_are_another_question_of_the_same_cluster() -> None:
    words = " ".join(WORDS[:60])
    one, two, three = PromptText(f"12 {words}"), PromptText(f"15 {words}"), PromptText(f"12 {words} please")
    clusters = cluster_prompts([one, two, three], 0.9)
    assert len(set(clusters.values())) == 1
    questions = group_questions([one, two, three], clusters, 0.9)
    assert questions[one.key] == questions[three.key] != questions[two.key]


def test_find_near_equals_brute_force() -> None:
    texts = make_texts(40, seed=6)
    probes, targets = texts[::2], texts[1::3]
    expected = {p.key for p in probes if any(measure_similarity(p, t) >= 0.9 for t in targets)}
    assert find_near(probes, targets, 0.9) == expected
    assert expected
    assert find_near(probes, [], 0.9) == set()


def test_near_copies_of_one_prompt_are_not_compared_all_with_all() -> None:
    base = " ".join(WORDS[:90])
    copies = [PromptText(f"{base} {n}") for n in range(3000)]
    assert len(set(cluster_prompts(copies, 0.9).values())) == 1
