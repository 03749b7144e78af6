"""Near-duplicates against brute force over all pairs, by hand, and on planted pairs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.curation.duplicates import cluster, find_near, group_questions
from flytewheel.curation.fingerprints import PromptFingerprints, fingerprint_prompts, load_fingerprints
from flytewheel.curation.neighbours import Neighbourhood
from flytewheel.curation.prompts import PromptText
from flytewheel.curation.shingles import Floats, Ints, shingle
from flytewheel.curation.signatures import PERMUTATIONS, RECALL, choose_band_rows, sign
from flytewheel.errors import DatasetError

WORDS = [f"word{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrst"]
Prompt = tuple[str, str]


def take(prompts: Sequence[Prompt], similarity: float = 0.9) -> PromptFingerprints:
    return fingerprint_prompts([query for query, _ in prompts], [rear for _, rear in prompts], similarity)


def name_shingles(text: str) -> frozenset[str]:
    words = text.split()
    if len(words) <= 3:
        return frozenset((text,)) if text else frozenset()
    return frozenset(" ".join(words[start : start + 3]) for start in range(len(words) - 2))


def measure(one: Prompt, other: Prompt) -> float:
    scores = []
    for left, right in zip(map(name_shingles, one), map(name_shingles, other), strict=True):
        scores.append(len(left & right) / len(left | right) if left | right else 1.0)
    return min(scores)


def sort_prompts(prompts: Sequence[Prompt]) -> list[Prompt]:
    return sorted(set(prompts), key=lambda prompt: PromptText(*prompt).key)


def cluster_slowly(prompts: Sequence[Prompt], similarity: float) -> list[int]:
    """All pairs, of distinct prompts in the order of their keys."""
    labels = list(range(len(prompts)))
    for one in range(len(prompts)):
        for other in range(one):
            if labels[one] != labels[other] and measure(prompts[one], prompts[other]) >= similarity:
                low, high = sorted((labels[one], labels[other]))
                labels = [low if label == high else label for label in labels]
    return labels


def question_slowly(prompts: Sequence[Prompt], clusters: Sequence[int], similarity: float) -> list[int]:
    leaders: list[int] = []
    for place, prompt in enumerate(prompts):
        numbers = PromptText(*prompt).numbers
        for leader in sorted(set(leaders)):
            same = clusters[leader] == clusters[place] and PromptText(*prompts[leader]).numbers == numbers
            if same and measure(prompts[leader], prompt) >= similarity:
                leaders.append(leader)
                break
        else:
            leaders.append(place)
    return leaders


def make_family(chance: random.Random, count: int) -> list[Prompt]:
    """Questions that drift: each copies one before it but for a word or two, with contexts that drift less."""
    prompts: list[Prompt] = []
    for _ in range(count):
        if prompts and chance.random() < 0.8:
            query, rear = (text.split() for text in chance.choice(prompts))
            if chance.random() < 0.8:
                query = query + chance.choices([*WORDS, "12", "15"], k=chance.randint(0, 2))
            if rear and chance.random() < 0.3:
                rear = rear[chance.randint(0, 2) :]
            if query and chance.random() < 0.3:
                query[chance.randrange(len(query))] = chance.choice(WORDS)
        else:
            query = chance.choices(WORDS, k=chance.choice([0, 2, 5, 30, 50]))
            rear = chance.choices(WORDS, k=chance.choice([0, 0, 1, 60]))
        prompts.append((" ".join(query), " ".join(rear)))
    return prompts


def slot(base: Sequence[str], *filled: tuple[int, str]) -> str:
    words = list(base)
    for place, word in filled:
        words[place] = word
    return " ".join(words)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([0.5, 0.7, 0.9]))
def test_everything_equals_brute_force(seed: int, similarity: float) -> None:
    chance = random.Random(seed)
    given_prompts = make_family(chance, 40)
    prompts = sort_prompts(given_prompts)
    found = take(given_prompts, similarity)
    assert found.names == [PromptText(*prompt).key for prompt in prompts]
    assert [prompts[place] for place in found.index] == given_prompts
    numbers = [PromptText(*prompt).numbers for prompt in prompts]
    for one, wanted in enumerate(numbers):
        assert (found.numbers == found.numbers[one]).tolist() == [own == wanted for own in numbers]
    clusters = cluster(found)
    assert clusters.tolist() == cluster_slowly(prompts, similarity)
    questions, scores = group_questions(clusters, found)
    assert questions.tolist() == question_slowly(prompts, clusters.tolist(), similarity)
    for place, (leader, score) in enumerate(zip(questions, scores, strict=True)):
        assert score == measure(prompts[place], prompts[leader])
    targets = make_family(chance, 10) + chance.sample(given_prompts, 5)
    near = find_near(found, take(targets, similarity))
    assert near.tolist() == [any(measure(p, t) >= similarity for t in targets) for p in prompts]


def test_bands_find_the_threshold() -> None:
    for similarity in (0.5, 0.7, 0.8, 0.9, 0.95):
        rows = choose_band_rows(similarity)
        assert 1 - (1 - similarity ** (2 * rows)) ** (PERMUTATIONS // rows) >= RECALL
    assert choose_band_rows(0.9) > choose_band_rows(0.7)


def test_bands_are_the_same_everywhere() -> None:
    """Pinned: other numbers would part this week's prompts from fingerprints that lie on disk."""
    bands = sign(shingle(["how do i free the disk", "", "a b"]), 8, 5)
    assert bands.shape == (32, 3)
    assert [int(value) for value in bands[[0, 31], 0]] == PINNED


def test_planted_pairs_at_the_threshold_are_found() -> None:
    """29 words have 27 trigrams, and with 3 more words 30: 27 / 30 = 0.9 exactly, in query and context alike."""
    chance = random.Random(7)
    prompts = []
    for number in range(2000):
        query, rear = (chance.choices(WORDS, k=40) for _ in range(2))
        words = [f"{number}q{place}" for place in range(29)], [f"{number}c{place}" for place in range(29)]
        one = " ".join(words[0]), " ".join(words[1])
        prompts += [one, (f"{one[0]} {' '.join(query[:3])}", f"{one[1]} {' '.join(rear[:3])}")]
    assert measure(prompts[0], prompts[1]) == 0.9
    clusters = cluster(take(prompts))[take(prompts).index]
    assert (clusters[::2] == clusters[1::2]).mean() >= 0.99
    assert len(np.unique(clusters[::2])) == 2000


def test_order_and_partitions_do_not_matter(tmp_path: Path) -> None:
    chance = random.Random(5)
    prompts = make_family(chance, 600)
    whole = take(prompts)
    clusters = cluster(whole)
    questions = group_questions(clusters, whole)
    shuffled = chance.sample(prompts, len(prompts)) + prompts[:50]
    assert np.array_equal(cluster(take(shuffled)), clusters)
    for parts in (1, 2, 7):
        dealt = [[prompt for row, prompt in enumerate(prompts) if row % parts == part] for part in range(parts)]
        dealt.append([])
        folders = [tmp_path / f"{parts}-{part}" for part in range(len(dealt))]
        for folder, own in zip(folders, dealt, strict=True):
            take(own).write(folder)
        merged = load_fingerprints(folders)
        assert merged.names == whole.names
        assert np.array_equal(merged.numbers, whole.numbers)
        assert merged.index.tolist() == [place for part in range(parts) for place in whole.index[part::parts]]
        assert np.array_equal(cluster(merged), clusters)
        leaders, scores = group_questions(clusters, merged)
        assert np.array_equal(leaders, questions[0])
        assert np.array_equal(scores, questions[1])
        assert np.array_equal(find_near(merged, take(prompts[::7])), find_near(whole, take(prompts[::7])))
        one, other = merged.to_frames(), whole.to_frames()
        assert one[0].drop("background").equals(other[0].drop("background"))
        assert one[1].equals(other[1])


def test_a_context_is_kept_once(tmp_path: Path) -> None:
    context = " ".join(WORDS)
    for part in range(2):
        take([(f"question {part} {number}", context) for number in range(100)]).write(tmp_path / str(part))
    merged = load_fingerprints([tmp_path / "0", tmp_path / "1"])
    assert len(merged) == 200
    assert len(merged.background_row) == 1
    assert [len(part.background_keys) for part in merged.parts] == [1, 1]


def test_places_are_found_by_name() -> None:
    found = take([("a", ""), ("b", "c"), ("d e f g", "")])
    names = [PromptText("d e f g").key, PromptText("nobody").key, PromptText("a").key, "f" * 32]
    places = found.find_places(names)
    assert [found.names[place] if place >= 0 else None for place in places] == [names[0], None, names[2], None]
    assert found.find_places([]).tolist() == []


def test_one_runbook_with_two_questions_is_not_one_prompt() -> None:
    context = " ".join(WORDS[:80])
    assert cluster(take([("how do i drain it", context), ("who owns this service", context)])).tolist() == [0, 1]


def test_other_numbers_are_another_question_of_the_same_cluster() -> None:
    words = " ".join(WORDS[:60])
    found = take([(f"12 {words}", ""), (f"15 {words}", ""), (f"12 {words} please", "")])
    clusters = cluster(found)
    assert set(clusters.tolist()) == {0}
    questions, scores = group_questions(clusters, found)
    named = questions[found.index]
    assert named[0] == named[2] != named[1]
    assert sorted(scores.tolist()) == pytest.approx([59 / 60, 1.0, 1.0])


def test_a_question_may_be_wider_or_stricter_than_its_cluster() -> None:
    words = " ".join(WORDS[:40])
    found = take([(words, ""), (f"{words} please", "")], 0.8)
    clusters = cluster(found)
    assert len(set(group_questions(clusters, found, 0.99)[0].tolist())) == 2
    assert len(set(group_questions(clusters, found, 0.5)[0].tolist())) == 1
    assert cluster(found, 0.99).tolist() == [0, 1]


def test_nothing_is_near_to_nothing() -> None:
    none, some = take([]), take([("", ""), ("a b c", "")])
    assert cluster(none).tolist() == []
    assert group_questions(cluster(none), none)[0].tolist() == []
    assert find_near(some, none).tolist() == [False, False]
    assert find_near(none, some).tolist() == []
    assert find_near(some, take([("", "")])).tolist() == [name == PromptText("").key for name in some.names]


def test_lone_surrogates_are_prompts_too() -> None:
    assert len(take([("\ud800 a", "\udfff"), ("\ud801 a", "")])) == 2


def fill_one_slot(count: int) -> list[Prompt]:
    """Not near to each other: of 18 trigrams 3 differ, 15 / 21. Every fifth has a neighbour that is."""
    base = WORDS[:20]
    prompts = [(slot(base, (10, f"s{number}")), "ctx") for number in range(count)]
    return prompts + [(f"{prompts[number][0]} please", "ctx") for number in range(0, count, 5)]


def fill_three_slots(count: int) -> list[Prompt]:
    base = WORDS[:30]
    chance = random.Random(2)
    few = [f"v{number}" for number in range(6)]
    prompts = [
        (slot(base, (4, chance.choice(few)), (14, chance.choice(few)), (24, chance.choice(WORDS))), "")
        for _ in range(count)
    ]
    return prompts + [(f"{query} now then", "") for query, _ in prompts[::5]]


def fill_contexts(count: int) -> list[Prompt]:
    """One question about contexts of one template."""
    base = WORDS[:70]
    prompts = [("why does it fail", slot(base, (20, f"s{number}"), (40, f"t{number}"))) for number in range(count)]
    return prompts + [("why does it fail", f"{rear} again") for _, rear in prompts[::5]]


def chain_words(count: int) -> list[Prompt]:
    """Each is near to the next, and the last is like nothing of the first."""
    return [(" ".join(f"c{number + place}" for place in range(60)), "") for number in range(count)]


@pytest.mark.parametrize("fill", [fill_one_slot, fill_three_slots, fill_contexts, chain_words])
def test_one_template_is_joined_exactly(fill: Callable[[int], list[Prompt]]) -> None:
    prompts = sort_prompts(fill(150))
    assert cluster(take(prompts)).tolist() == cluster_slowly(prompts, 0.9)
    probes, targets = prompts[::2], prompts[1::2]
    assert find_near(take(probes), take(targets)).tolist() == [
        any(measure(probe, target) >= 0.9 for target in targets) for probe in probes
    ]


def test_a_band_that_holds_all_is_joined_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PromptFingerprints, "read_band", lambda prompts, band: np.zeros(len(prompts), dtype=np.uint64))
    chance = random.Random(11)
    for similarity in (0.5, 0.9):
        prompts = sort_prompts(make_family(chance, 260))
        assert cluster(take(prompts, similarity)).tolist() == cluster_slowly(prompts, similarity)
        probes, targets = prompts[::2], prompts[1::2]
        assert find_near(take(probes, similarity), take(targets, similarity)).tolist() == [
            any(measure(probe, target) >= similarity for target in targets) for probe in probes
        ]


@pytest.mark.parametrize("fill", [fill_one_slot, fill_three_slots, fill_contexts, chain_words])
def test_comparisons_grow_with_prompts_not_with_pairs(fill: Callable[[int], list[Prompt]]) -> None:
    """A prompt is compared with the leaders of its bands, twice 32, and with few others; all pairs would be 3,000."""
    each = []
    for count in (1250, 5000):
        found = take(fill(count))
        around = Neighbourhood(found, 0.9)
        around.unite()
        each.append(around.compared / len(found))
    assert each[1] < 120
    assert each[1] < 1.5 * each[0]


def test_a_template_with_many_questions_is_not_quadratic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any two with one slot different are near, so they are one cluster, of thousands of questions."""
    chance = random.Random(4)
    base = [*WORDS[:62]]
    prompts = [
        (slot(base, *((place, f"w{chance.choice('abcdefgh')}") for place in (5, 15, 25, 35, 45))), "")
        for _ in range(3000)
    ]
    found = take(prompts)
    measured = 0
    plain = PromptFingerprints.measure

    def count(self: PromptFingerprints, ones: Ints, others: Ints, least: float = 0.0) -> Floats:
        nonlocal measured
        measured += len(ones)
        return plain(self, ones, others, least)

    clusters = cluster(found)
    monkeypatch.setattr(PromptFingerprints, "measure", count)
    questions, scores = group_questions(clusters, found)
    assert measured < 150 * len(found)
    assert (scores >= 0.9).all()
    assert (clusters[questions] == clusters).all()
    assert (questions[questions] == questions).all()
    assert len(np.unique(clusters)) < 200 < len(np.unique(questions))


def test_fingerprints_of_two_kinds_are_refused(tmp_path: Path) -> None:
    take([("a", "")], 0.9).write(tmp_path / "one")
    take([("a", "")], 0.8).write(tmp_path / "two")
    with pytest.raises(DatasetError, match=r"two: expected fingerprints of .*0\.9.*got .*0\.8"):
        load_fingerprints([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(DatasetError, match="three: no readable fingerprints"):
        load_fingerprints([tmp_path / "three"])
    with pytest.raises(DatasetError, match="got none"):
        load_fingerprints([])
    (tmp_path / "one" / "bands.npy").write_bytes(b"torn")
    with pytest.raises(DatasetError, match="one: no readable"):
        load_fingerprints([tmp_path / "one"])
    with pytest.raises(ValueError, match=r"at least 0\.9"):
        cluster(take([("a", "")], 0.9), 0.8)
    with pytest.raises(ValueError, match="one similarity"):
        find_near(take([("a", "")], 0.9), take([("a", "")], 0.8), 0.95)
    take([("a", "")]).write(tmp_path / "four")
    twice = load_fingerprints([tmp_path / "four"] * 2)
    with pytest.raises(ValueError, match="one partition"):
        twice.write(tmp_path / "five")


def test_some_prompts_alone() -> None:
    prompts = make_family(random.Random(12), 120)
    found = take(prompts)
    some, own = found.take(np.arange(0, len(found), 3)), sort_prompts(prompts)[::3]
    assert some.names == [PromptText(*prompt).key for prompt in own]
    assert np.array_equal(cluster(some), cluster(take(own)))
    near = find_near(found, some)
    assert near[::3].all()
    assert np.array_equal(near, find_near(found, take(own)))


PINNED = [9464522331281500587, 5302977180814217370]
