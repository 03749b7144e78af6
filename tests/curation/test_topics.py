"""Topics of generated queries, whose true topics are known."""

from __future__ import annotations

import random
import time

import pytest
from sklearn.metrics import adjusted_rand_score

from flytewheel.curation import topics as module
from flytewheel.curation.prompts import normalise
from flytewheel.curation.topics import MIN_TEXTS, UNLABELLED, find_topics

TOPICS = {
    "disk": ["disk", "full", "usage", "inode", "mount", "volume", "partition", "quota", "cleanup", "tmp"],
    "deploy": ["deploy", "rollback", "release", "canary", "pipeline", "image", "tag", "manifest", "rollout"],
    "network": ["dns", "latency", "packet", "route", "gateway", "subnet", "firewall", "socket", "timeout", "proxy"],
    "billing": ["invoice", "refund", "payment", "charge", "tax", "receipt", "subscription", "price", "currency"],
}
WIDE_TOPICS = {
    "disk": ["磁盘", "空间", "清理", "挂载", "分区", "容量"],
    "deploy": ["部署", "回滚", "发布", "镜像", "版本", "流水"],
    "network": ["网络", "延迟", "防火", "路由", "域名", "丢包"],
}
FILLER = ["how", "do", "i", "the", "on", "our", "host", "please", "what", "is", "a", "for", "why", "does", "it", "when"]
WIDE_FILLER = ["怎么", "请问", "我们", "什么", "为什", "可以", "现在"]


def write(count: int, seed: int, wide: bool = False) -> tuple[list[str], list[str]]:
    chance = random.Random(seed)
    topics, filler = (WIDE_TOPICS, WIDE_FILLER) if wide else (TOPICS, FILLER)
    texts, truth = [], []
    for _ in range(count):
        topic = chance.choice(sorted(topics))
        words = chance.choices(topics[topic], k=chance.randint(2, 4)) + chance.choices(filler, k=chance.randint(2, 6))
        chance.shuffle(words)
        texts.append(normalise(("" if wide else " ").join(words)))
        truth.append(topic)
    return texts, truth


def find(texts: list[str], known: list[str | None] | None = None, seed: int = 1, most: int = 20) -> list[str]:
    return find_topics(texts, known or [None] * len(texts), max_topics=most, seed=seed)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_separate_topics_are_found(seed: int, wide: bool) -> None:
    texts, truth = write(1500, seed, wide)
    found = find(texts, seed=seed)
    assert adjusted_rand_score(truth, found) >= 0.8
    assert len(set(found)) == len(set(truth))
    words = {word for own in (WIDE_TOPICS if wide else TOPICS).values() for word in own}
    named = {word for topic in set(found) for word in topic.split(", ")}
    if wide:
        assert len(named & words) >= len(named) // 2
    else:
        assert named <= words


@pytest.mark.parametrize("count", [2, 12])
def test_as_many_topics_as_there_are(count: int) -> None:
    chance = random.Random(count)
    texts, truth = [], []
    for _ in range(2000):
        topic = chance.randrange(count)
        words = [f"{chr(97 + topic)}{chr(97 + chance.randrange(20))}word" for _ in range(chance.randint(3, 7))]
        texts.append(" ".join(words + chance.choices(FILLER, k=5)))
        truth.append(topic)
    found = find(texts)
    assert len(set(found)) == count
    assert adjusted_rand_score(truth, found) >= 0.95


def test_no_more_topics_than_allowed() -> None:
    assert len(set(find(write(1000, 4)[0], most=3))) <= 3
    assert len(set(find(write(1000, 4)[0], most=1))) == 1


def test_texts_of_one_kind_are_one_topic() -> None:
    chance = random.Random(6)
    texts = [" ".join(chance.choices(FILLER + TOPICS["disk"], k=9)) for _ in range(1500)]
    assert len(set(find(texts))) == 1


def test_order_and_repetition_do_not_matter() -> None:
    texts, _ = write(800, 7)
    known = [None] * len(texts)
    found = dict(zip(texts, find(texts), strict=True))
    again = random.Random(1).sample(texts, len(texts)) + texts[:100]
    assert dict(zip(again, find_topics(again, known + [None] * 100, max_topics=20, seed=1), strict=True)) == found


def test_the_draw_does_not_rest_on_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FITTED_TEXTS", 300)
    texts, truth = write(1500, 8)
    found = find(texts)
    assert adjusted_rand_score(truth, found) >= 0.8
    assert find(texts[::-1])[::-1] == found


def test_labelled_topics_are_followed_and_kept() -> None:
    texts, truth = write(1200, 9)
    chance = random.Random(9)
    known = [topic if topic != "billing" and chance.random() < 0.3 else None for topic in truth]
    found = find(texts, known)
    for topic, given, true in zip(found, known, truth, strict=True):
        assert given is None or topic == given
        assert true == "billing" or topic not in ("disk", "deploy", "network") or topic == true or given is None
    rest = [(topic, true) for topic, given, true in zip(found, known, truth, strict=True) if given is None]
    labelled = [topic == true for topic, true in rest if true != "billing"]
    assert sum(labelled) / len(labelled) >= 0.85
    unknown = [topic for topic, true in rest if true == "billing"]
    assert sum(topic in TOPICS for topic in unknown) / len(unknown) <= 0.05
    assert any("invoice" in topic or any(word in topic for word in TOPICS["billing"]) for topic in unknown)


def test_one_text_with_two_labels_takes_the_more_frequent() -> None:
    texts = ["same text"] * 5
    assert find(texts, ["b", "a", "b", None, "a"]) == ["b", "a", "b", "a", "a"]


@pytest.mark.parametrize("texts", [[], ["a"], [""] * 50, ["same thing here"] * 50, ["12 34"] * 50])
def test_too_few_texts_have_no_topic(texts: list[str]) -> None:
    assert find(texts) == [UNLABELLED] * len(texts)
    assert find(write(MIN_TEXTS - 1, 1)[0]) == [UNLABELLED] * (MIN_TEXTS - 1)


def test_texts_without_common_words_have_no_topic() -> None:
    assert set(find([f"lonely{number}x {number}" for number in range(50)])) == {UNLABELLED}
    lone = ["\ud800", "", "7"]
    assert find(write(200, 2)[0] + lone)[-3:] == [UNLABELLED] * 3


def test_columns_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="each of 2 texts, got 1"):
        find_topics(["a", "b"], [None], max_topics=3, seed=0)


def test_cost_grows_with_texts_only() -> None:
    """CPU seconds of 20,000 more texts, against the budget of 10 µs with room for a slow machine."""
    costs = []
    for count in (10_000, 30_000):
        texts, _ = write(count, 3)
        texts = [f"{text} nr{place}" for place, text in enumerate(texts)]
        begun = time.process_time()
        find(texts)
        costs.append(time.process_time() - begun)
    assert (costs[1] - costs[0]) / 20_000 < 60e-6
