"""Curation the obvious way, the rival of `benchmarks.curation`: row-by-row Python, a well-known library for each step.

pydantic reads every line; Presidio's pattern recognisers (its own, and the same engine with the patterns it lacks) look
at every text; every answer is encoded by the tokenizer; datasketch finds near prompts and rouge-score verifies them.
Without an NLP engine: context words would make Presidio slower still.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import curation_rules as rules
from benchmarks.curation_naive_rows import (
    Row,
    add_paraphrases,
    balance_topics,
    build_rows,
    cap_rows,
    find_topics,
    gather_sessions,
    split_rows,
    write_rows,
)
from benchmarks.curation_rules import Clock
from flytewheel.feedback.rewards import score
from flytewheel.recipe import BaseModelSpec, FeedbackSpec
from flytewheel.records import FeedbackEvent, Interaction

_LACKING = ("PRIVATE_KEY", "JWT", "CREDENTIALS", "API_KEY", "BEARER", "SECRET", "NATIONAL")  # in Presidio


def curate_naively(window: Path, out: Path, clock: Clock) -> dict[str, int]:
    """Curates the window in `window` into JSON lines under `out`; gives how many rows of each kind and part."""
    reasons: Counter[str] = Counter()
    with clock("start: imports, tokenizer, patterns"):
        recognisers = _load_recognisers()
        count_tokens = _load_tokenizer()
        from rouge_score.rouge_scorer import RougeScorer

        rouge = RougeScorer(["rougeL"])
    with clock("read and validate"):
        interactions = _read(window / "interactions.jsonl", Interaction, "interaction_id", reasons)
        events = _read(window / "feedback.jsonl", FeedbackEvent, "event_id", reasons)
    with clock("join reactions"):
        rows = {name: Row(one) for name, one in interactions.items()}
        for event in events.values():
            row = rows.get(event.interaction_id)
            if row is None or row.one.user_id != event.user_id:
                reasons["another user's feedback"] += 1
            else:
                row.events.append(event)
    with clock("redact personal data"):
        for row in rows.values():
            _redact(row, recognisers, reasons)
    with clock("screen answers and corrections"):
        import re

        screens = {name: re.compile(pattern) for name, pattern in rules.SCREENS.items()}
        kept = [row for row in rows.values() if not _note(reasons, _screen(row, screens))]
        for row in kept:
            _screen_corrections(row, screens, reasons, rouge)
    with clock("lengths in tokens"):
        kept = [row for row in kept if not _note(reasons, _judge_length(row, count_tokens))]
    turns = list(kept)
    with clock("abuse"):
        _quarantine(kept, reasons)
    with clock("rewards and quality"):
        kept = [row for row in kept if not _note(reasons, _score(row))]
    with clock("near-duplicates"):
        _cluster(kept, rouge)
    with clock("topics"):
        find_topics(kept)
    with clock("split by user"):
        parts = split_rows(kept, reasons)
    with clock("rows and pairs"):
        data = {part: build_rows(own) for part, own in parts.items()}
    with clock("caps, balance, weights"):
        for kind in ("sft", "preference", "unpaired"):
            data["train"][kind] = balance_topics(cap_rows(data["train"][kind], reasons), reasons)
    with clock("paraphrase"):
        data["train"]["sft"] += add_paraphrases(data["train"]["sft"])
    with clock("decontaminate"):
        _decontaminate(data, parts, reasons, rouge)
    with clock("trajectories and comments"):
        data["train"]["trajectory"] = gather_sessions(turns)
        moods = Counter(rules.find_mood(event.comment) for row in kept for event in row.events if event.comment)
    with clock("write, digest, card"):
        return write_rows(out, window, data, reasons, moods)


def _load_recognisers() -> list[tuple[str, Any, list[str]]]:
    from presidio_analyzer import Pattern, PatternRecognizer
    from presidio_analyzer import predefined_recognizers as known
    from tldextract import TLDExtract, tldextract

    tldextract.TLD_EXTRACTOR = TLDExtract(suffix_list_urls=())  # Presidio's e-mail check would ask the network
    own = [
        PatternRecognizer(supported_entity=kind, patterns=[Pattern(kind, rules.PERSONAL[kind], 0.8)])
        for kind in _LACKING
    ]
    given = [
        ("EMAIL", known.EmailRecognizer()),
        ("IBAN", known.IbanRecognizer()),
        ("CARD", known.CreditCardRecognizer()),
        ("SSN", known.UsSsnRecognizer()),
        ("MAC", known.MacAddressRecognizer()),
        ("IP", known.IpRecognizer()),
        ("CRYPTO", known.CryptoRecognizer()),
        ("PHONE", known.PhoneRecognizer()),
    ]
    named = [*given, *((kind, each) for kind, each in zip(_LACKING, own, strict=True))]
    return [(kind, each, each.supported_entities) for kind, each in named]


def _load_tokenizer() -> Callable[[str], int]:
    from flytewheel.models import load_tokenizer

    tokenizer: Any = load_tokenizer(BaseModelSpec(model="pocket"))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _read(path: Path, model: type[Any], key: str, reasons: Counter[str]) -> dict[str, Any]:
    records: dict[str, Any] = {}
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            try:
                record = model(**json.loads(line))
            except ValueError:
                reasons["unreadable"] += 1
                continue
            records[getattr(record, key)] = record
    return dict(sorted(records.items(), key=lambda item: (item[1].timestamp, item[0])))


def _note(reasons: Counter[str], reason: str | None) -> str | None:
    if reason:
        reasons[reason] += 1
    return reason


def _redact(row: Row, recognisers: list[tuple[str, Any, list[str]]], reasons: Counter[str]) -> None:
    one = row.one
    written = [(at, name) for at, event in enumerate(row.events) for name in _TEXTS if getattr(event, name)]
    texts = [one.query, one.response, one.context or "", *(turn.content for turn in one.history)]
    texts += [getattr(row.events[at], name) for at, name in written]
    found = [
        [
            (hit.start, hit.end, kind)
            for kind, recogniser, entities in recognisers
            for hit in recogniser.analyze(text, entities) or ()
            if hit.score >= 0.4
        ]
        for text in texts
    ]
    if not any(found):
        return
    clean, counts = rules.replace_spans(texts, found)
    reasons.update({f"redacted {kind}": count for kind, count in counts.items()})
    turns = tuple(turn.model_copy(update={"content": text}) for turn, text in zip(one.history, clean[3:], strict=False))
    row.one = one.model_copy(
        update={"query": clean[0], "response": clean[1], "context": clean[2] or None, "history": turns}
    )
    for (at, name), text in zip(written, clean[3 + len(one.history) :], strict=True):
        row.events[at] = row.events[at].model_copy(update={name: text})


_TEXTS = ("corrected_response", "other_response", "comment")


def _screen(row: Row, screens: dict[str, Any]) -> str | None:
    one = row.one
    if not one.completed:
        return "incomplete"
    if not one.response.strip():
        return "empty"
    if rules.repeats_itself(one.response):
        return "repeats itself"
    if rules.looks_gibberish(one.response):
        return "gibberish"
    for name in ("refusal", "truncated"):
        if screens[name].search(one.response):
            return name
    asked = "\n".join((*(turn.content for turn in one.history), one.query))
    for name in ("toxic", "prompt injection"):
        if any(screens[name].search(text) for text in (asked, one.response, one.context or "")):
            return name
    return None


def _screen_corrections(row: Row, screens: dict[str, Any], reasons: Counter[str], rouge: Any) -> None:
    fit = []
    for event in row.events:
        text = event.corrected_response
        if text is None:
            fit.append(event)
        elif any(screens[name].search(text) for name in ("toxic", "prompt injection")):
            reasons["abusive correction"] += 1
        elif rouge.score(row.one.response, text)["rougeL"].fmeasure > 0.999:
            reasons["correction changes nothing"] += 1
            fit.append(event.model_copy(update={"corrected_response": None}))
        else:
            fit.append(event)
    row.events = fit


def _judge_length(row: Row, count_tokens: Callable[[str], int]) -> str | None:
    row.events = [
        event
        if event.corrected_response is None or rules.LOW <= count_tokens(event.corrected_response) <= rules.HIGH
        else event.model_copy(update={"corrected_response": None})
        for event in row.events
    ]
    return None if rules.LOW <= count_tokens(row.one.response) <= rules.HIGH else "length"


def _sign(event: FeedbackEvent) -> int:
    if event.rating is not None:
        return (event.rating > 3) - (event.rating < 3)
    return {"thumbs_up": 1, "thumbs_down": -1, "correction": -1, "abandonment": -1}.get(event.feedback_type.value, 0)


def _quarantine(rows: list[Row], reasons: Counter[str]) -> None:
    said: dict[str, list[FeedbackEvent]] = defaultdict(list)
    votes: dict[tuple[str, int], list[tuple[float, str, str]]] = defaultdict(list)
    for row in rows:
        answer = hashlib.sha256(
            f"{rules.normalise(row.one.query)}\n{' '.join(row.one.response.split())}".encode()
        ).hexdigest()
        for event in row.events:
            if event.feedback_type.value in rules.EXPLICIT:
                said[event.user_id].append(event)
                if sign := _sign(event):
                    votes[answer, sign].append((event.timestamp.timestamp(), event.user_id, event.event_id))
    bad: set[str] = set()
    for own in said.values():
        own.sort(key=lambda event: event.timestamp)
        for place, last in enumerate(own[rules.BURST_EVENTS - 1 :]):
            if (last.timestamp - own[place].timestamp).total_seconds() <= rules.BURST_S:
                bad.update(event.event_id for event in own[place : place + rules.BURST_EVENTS])
    shared: Counter[tuple[str, str]] = Counter()
    cast: Counter[str] = Counter()
    for given in votes.values():
        given.sort()
        for first in given:
            near = [one for one in given if 0 <= one[0] - first[0] <= rules.BRIGADE_S]
            if len({user for _, user, _ in near}) >= rules.BRIGADE_USERS:
                bad.update(event for _, _, event in near)
        users = sorted({user for _, user, _ in given})
        cast.update(users)
        if 2 <= len(users) <= 500:
            shared.update((one, other) for at, one in enumerate(users) for other in users[at + 1 :])
    crowd = {
        user
        for pair, count in shared.items()
        if count >= 5 and count >= rules.LOCKSTEP * max(cast[pair[0]], cast[pair[1]])
        for user in pair
    }
    for row in rows:
        fit = [event for event in row.events if event.event_id not in bad and event.user_id not in crowd]
        reasons["abuse"] += len(row.events) - len(fit)
        row.events = fit


def _score(row: Row) -> str | None:
    reward = score(row.events, FeedbackSpec(), session_duration_s=None)
    if reward.total is None:
        return "no reaction"
    words = {word for word in rules.normalise(row.one.response).split() if len(word) >= 4}
    used = row.one.context is not None and bool(words)
    used = used and len(words & set(rules.normalise(row.one.context or "").split())) >= 0.3 * len(words)
    row.explicit, row.total = reward.explicit, reward.total
    row.quality = max(
        0.0, min(1.0, 0.4 * (reward.explicit or 0) + 0.3 * (reward.implicit or 0) + 0.15 + 0.15 * bool(used))
    )
    given = [event for event in row.events if event.corrected_response]
    row.correction = max(given, key=lambda event: event.timestamp).corrected_response if given else None
    return None


def _hash(text: str) -> Any:
    from datasketch import MinHash

    signature = MinHash(num_perm=rules.PERMUTATIONS)
    for part in rules.shingle(text):
        signature.update(part.encode())
    return signature


def _verify(rouge: Any, one: Row, other: Row) -> bool:
    if rouge.score(one.query, other.query)["rougeL"].fmeasure < rules.SIMILARITY:
        return False
    if one.background == other.background:
        return True
    return bool(rouge.score(one.background, other.background)["rougeL"].fmeasure >= rules.SIMILARITY)


def _cluster(rows: list[Row], rouge: Any) -> None:
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=rules.SIMILARITY, num_perm=rules.PERMUTATIONS)
    leaders: dict[str, Row] = {}
    for row in rows:
        row.query = rules.normalise(row.one.query)
        row.background = rules.normalise(
            "\n".join((row.one.context or "", *(turn.content for turn in row.one.history)))
        )
        signature = _hash(row.query)
        near = (leaders[name] for name in sorted(index.query(signature)))
        leader = next((each for each in near if _verify(rouge, row, each)), None)
        if leader is None:
            name = row.one.interaction_id
            index.insert(name, signature)
            leaders[name] = leader = row
        row.cluster = leader.one.interaction_id
        numbers = [word for word in row.query.split() if any(map(str.isdigit, word))]
        row.question = f"{row.cluster} {' '.join(numbers)}"


def _decontaminate(data: Any, parts: dict[str, list[Row]], reasons: Counter[str], rouge: Any) -> None:
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=rules.SIMILARITY, num_perm=rules.PERMUTATIONS)
    held: dict[str, Row] = {}
    for part in ("validation", "test", "holdout"):
        for row in parts[part]:
            if row.one.interaction_id not in held:
                index.insert(row.one.interaction_id, _hash(row.query))
                held[row.one.interaction_id] = row
    for kind in ("sft", "preference", "unpaired"):
        kept = []
        for draft in data["train"][kind]:
            probe = Row(draft["row"].one)
            probe.query, probe.background = draft.get("asked", draft["row"].query), draft["row"].background
            if any(_verify(rouge, probe, held[name]) for name in index.query(_hash(probe.query))):
                reasons["near to a held-out prompt"] += 1
            else:
                kept.append(draft)
        data["train"][kind] = kept
