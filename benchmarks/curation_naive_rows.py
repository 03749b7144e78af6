"""Rows of the obvious way: from scored answers to JSON lines, in loops over dictionaries."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import curation_rules as rules
from flytewheel.records import FeedbackEvent, Interaction, build_prompt


class Row:
    """An interaction on its way."""

    def __init__(self, interaction: Interaction) -> None:
        self.one = interaction
        self.events: list[FeedbackEvent] = []
        self.explicit: float | None = None
        self.total = self.quality = 0.0
        self.correction: str | None = None
        self.query = self.background = self.cluster = self.question = self.topic = self.part = ""


def split_rows(rows: list[Row], reasons: Counter[str]) -> dict[str, list[Row]]:
    """Deals rows into parts by user; a cluster takes its strictest part."""
    present: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        row.part = rules.choose_part(row.one.user_id)
        present[row.cluster][row.part] += 1
    strictest = {name: max(counts, key=_ORDER.index) for name, counts in present.items()}
    parts: dict[str, list[Row]] = {part: [] for part in _ORDER}
    for row in rows:
        if row.part == strictest[row.cluster]:
            parts[row.part].append(row)
        else:
            reasons["prompt stands in another part"] += 1
    return parts


_ORDER = ("train", "validation", "test", "holdout")


def _draft(row: Row, **fields: Any) -> dict[str, Any]:
    prompt = build_prompt(row.one.query, context=row.one.context, history=row.one.history)
    return {
        "id": row.one.interaction_id,
        "user": row.one.user_id,
        "topic": row.topic,
        "prompt": [turn.model_dump() for turn in prompt],
        "events": [event.event_id for event in row.events],
        "weight": 1.0,
        "cluster": row.cluster,
        "row": row,
        **fields,
    }


def build_rows(rows: list[Row]) -> dict[str, list[dict[str, Any]]]:
    """Makes the rows of one part."""
    votes: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        votes[row.question, " ".join(row.one.response.split())].append(row)
    answers: dict[str, list[tuple[float, float, float | None, Row]]] = defaultdict(list)
    for (question, _), judged in votes.items():
        best = max(judged, key=lambda row: row.quality)
        said = [row.explicit for row in judged if row.explicit is not None]
        mean = sum(row.total for row in judged) / len(judged)
        answers[question].append((mean, best.quality, sum(said) / len(said) if said else None, best))
    made: dict[str, list[dict[str, Any]]] = {"sft": [], "preference": [], "unpaired": [], "regression": []}
    for row in rows:
        if row.correction is not None:
            made["sft"].append(_draft(row, completion=row.correction, quality=0.55, rank=0.55))
            if 1 - row.total >= rules.MIN_MARGIN:
                made["preference"].append(
                    _draft(
                        row, chosen=row.correction, rejected=row.one.response, margin=1 - row.total, rank=1 - row.total
                    )
                )
            expected = rules.derive_expected(row.correction, row.one.response)
            if expected and row.part != "train" and len(made["regression"]) < rules.MAX_CASES:
                made["regression"].append(_draft(row, check="contains", expected=expected))
    for given in answers.values():
        for total, quality, explicit, row in given:
            if (
                row.correction is None
                and total > 0
                and (explicit is None or explicit >= 0)
                and quality >= rules.MIN_QUALITY
            ):
                made["sft"].append(_draft(row, completion=row.one.response, quality=quality, rank=quality))
            if explicit:
                made["unpaired"].append(
                    _draft(row, completion=row.one.response, label=explicit > 0, rank=abs(explicit))
                )
        pairs = 0
        for good in sorted(given, key=lambda answer: -answer[0]):
            for bad in given:
                fits = good[0] - bad[0] >= rules.MIN_MARGIN and (good[1] >= rules.MIN_CHOSEN or (good[2] or 0) > 0)
                if fits and pairs < rules.MAX_CLUSTER:
                    pairs += 1
                    margin = good[0] - bad[0]
                    chosen, rejected = good[3].one.response, bad[3].one.response
                    made["preference"].append(
                        _draft(good[3], chosen=chosen, rejected=rejected, margin=margin, rank=margin)
                    )
    return made


def cap_rows(drafts: list[dict[str, Any]], reasons: Counter[str]) -> list[dict[str, Any]]:
    """The best rows of each user and cluster."""
    users: Counter[str] = Counter()
    clusters: Counter[str] = Counter()
    kept = []
    for draft in sorted(drafts, key=lambda draft: (-draft["rank"], draft["id"])):
        if users[draft["user"]] >= rules.MAX_USER or clusters[draft["cluster"]] >= rules.MAX_CLUSTER:
            reasons["enough rows"] += 1
            continue
        users[draft["user"]] += 1
        clusters[draft["cluster"]] += 1
        kept.append(draft)
    return kept


def balance_topics(drafts: list[dict[str, Any]], reasons: Counter[str]) -> list[dict[str, Any]]:
    """Cuts large topics."""
    sizes = Counter(draft["topic"] for draft in drafts)
    limit = rules.MAX_RATIO * median(sizes.values()) if sizes else 0
    taken: Counter[str] = Counter()
    kept = []
    for draft in drafts:
        taken[draft["topic"]] += 1
        if taken[draft["topic"]] <= limit:
            kept.append(draft)
    reasons["topic too large"] += len(drafts) - len(kept)
    return kept


def add_paraphrases(drafts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Other ways to ask the same."""
    order = sorted(drafts, key=lambda draft: rules.draw_number("augment", draft["id"]))
    made = []
    for turn, draft in enumerate(order[: int((rules.AUGMENT - 1) * len(drafts))]):
        query = rules.paraphrase(draft["row"].one.query, turn % len(rules.OPENERS))
        prompt = [*draft["prompt"][:-1], {"role": "user", "content": query}]
        made.append({**draft, "id": f"{draft['id']}/paraphrase", "prompt": prompt, "asked": rules.normalise(query)})
    return made


def gather_sessions(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Sessions of several turns."""
    sessions: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.one.session_id:
            sessions[row.one.user_id, row.one.session_id].append(row)
    made = []
    for (user, name), own in sessions.items():
        if len(own) < 2:
            continue
        turns = [turn.model_dump() for turn in own[-1].one.history]
        turns += [
            {"role": "user", "content": own[-1].one.query},
            {"role": "assistant", "content": own[-1].one.response},
        ]
        events = [event.event_id for row in own for event in row.events]
        rewards = [row.total for row in own]
        made.append({"id": name, "user": user, "messages": turns, "rewards": rewards, "events": events})
    return made


def write_rows(out: Path, window: Path, data: Any, reasons: Counter[str], moods: Counter[str]) -> dict[str, int]:
    """Writes JSON lines and a card."""
    counts: dict[str, int] = {}
    files = {}
    for part, kinds in data.items():
        for kind, drafts in kinds.items():
            path = out / kind / f"{part}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8") as stream:
                for draft in sorted(drafts, key=lambda draft: str(draft["id"])):
                    shown = {key: value for key, value in draft.items() if key not in ("row", "cluster", "asked")}
                    stream.write(json.dumps(shown, sort_keys=True, ensure_ascii=False) + "\n")
            counts[f"{kind}/{part}"] = len(drafts)
            files[f"{kind}/{part}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    for name in ("interactions.jsonl", "feedback.jsonl"):
        files[name] = hashlib.sha256((window / name).read_bytes()).hexdigest()
    card = {"files": files, "counts": counts, "reasons": dict(reasons), "moods": dict(moods)}
    (out / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True), encoding="utf-8")
    return counts


def find_topics(rows: list[Row]) -> None:
    """Clusters the questions that bring no topic."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    unknown = [row for row in rows if not row.one.topic]
    for row in rows:
        row.topic = row.one.topic or ""
    if len(unknown) >= rules.MAX_TOPICS:
        vectors = TfidfVectorizer(max_features=4096).fit_transform([row.query for row in unknown])
        labels = MiniBatchKMeans(rules.MAX_TOPICS, random_state=7, n_init=1).fit_predict(vectors)
        for row, label in zip(unknown, labels.tolist(), strict=True):
            row.topic = f"topic-{label}"
