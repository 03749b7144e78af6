"""Curation written plainly, the closer rival of `benchmarks.curation`: Polars expressions and a loop with rensa.

What a competent engineer writes in an afternoon: gates in Polars and Python on the hits only, one batch through the
tokenizer, shingles of a background computed once, joins and group_by for everything that is about rows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import curation_rules as rules
from benchmarks.curation_near import NearPrompts
from benchmarks.curation_plain_rows import build_rows, choose_rows, find_abuse, write_rows
from benchmarks.curation_rules import Clock
from flytewheel.models import POCKET

_TURN = pl.Struct({"role": pl.String, "content": pl.String})
_INTERACTION: dict[str, Any] = {
    "interaction_id": pl.String,
    "session_id": pl.String,
    "user_id": pl.String,
    "timestamp": pl.String,
    "query": pl.String,
    "response": pl.String,
    "context": pl.String,
    "history": pl.List(_TURN),
    "topic": pl.String,
    "completed": pl.Boolean,
}
_AMOUNTS = pl.Struct({name: pl.Float64 for name in ("seconds", "count", "read_s", "expected_s")})
_EVENT: dict[str, Any] = {
    "event_id": pl.String,
    "interaction_id": pl.String,
    "user_id": pl.String,
    "feedback_type": pl.String,
    "timestamp": pl.String,
    "rating": pl.Float64,
    "corrected_response": pl.String,
    "other_response": pl.String,
    "preferred": pl.String,
    "comment": pl.String,
    "metadata": _AMOUNTS,
}
_SAID = ("corrected_response", "other_response", "comment")
_PARTS = ("train", "validation", "test", "holdout")


def curate_plainly(window: Path, out: Path, clock: Clock) -> dict[str, int]:
    """Curates the window in `window` into Parquet under `out`; gives how many rows of each kind and part."""
    reasons: Counter[str] = Counter()
    with clock("start: imports, tokenizer, patterns"):
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(POCKET / "tokenizer.json"))
    with clock("read and validate"):
        rows = _read(window / "interactions.jsonl", _INTERACTION, "interaction_id", reasons)
        events = _read(window / "feedback.jsonl", _EVENT, "event_id", reasons)
    with clock("join reactions"):
        known = rows.select("interaction_id", pl.col("user_id").alias("asker"))
        joined = events.join(known, on="interaction_id").filter(pl.col("user_id") == pl.col("asker")).drop("asker")
        reasons["another user's feedback"] += events.height - joined.height
        events = joined
    with clock("redact personal data"):
        rows, events = _redact(rows, events, reasons)
    with clock("screen answers and corrections"):
        rows = _count(rows, _screen(rows), reasons)
        events = _screen_corrections(rows, events, reasons)
    with clock("lengths in tokens"):
        rows = _count(rows, pl.when(~_fits(rows["response"], tokenizer)).then(pl.lit("length")), reasons)
        written = events.filter(pl.col("corrected_response").is_not_null())
        long = written.filter(~_fits(written["corrected_response"], tokenizer))["event_id"]
        unfit = pl.col("event_id").is_in(long.implode())
        events = events.with_columns(pl.when(~unfit).then("corrected_response").alias("corrected_response"))
    with clock("abuse"):
        kept = events.join(find_abuse(rows, events), on="event_id", how="anti")
        reasons["abuse"] += events.height - kept.height
        events = kept
    with clock("rewards and quality"):
        scored = _score(rows, events)
        reasons["no reaction"] += rows.height - scored.height
    with clock("near-duplicates"):
        near = NearPrompts()
        scored = near.cluster(scored)
    with clock("topics"):
        scored = _find_topics(scored)
    with clock("split by user"):
        scored = _split(scored, reasons)
    with clock("rows and pairs"):
        data = build_rows(scored)
    with clock("caps, balance, weights"):
        data = choose_rows(data, reasons)
    with clock("paraphrase"):
        data["sft"] = near.augment(data["sft"], scored)
    with clock("decontaminate"):
        data = near.decontaminate(data, scored, reasons)
    with clock("trajectories and comments"):
        data["trajectory"] = _gather_sessions(rows, scored)
        moods = Counter(rules.find_mood(comment) for comment in events["comment"].drop_nulls())
    with clock("write, digest, card"):
        counts, files = write_rows(out, data, scored)
        for name in ("interactions.jsonl", "feedback.jsonl"):
            with (window / name).open("rb") as stream:
                files[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        card = {"files": files, "counts": counts, "reasons": dict(reasons), "moods": dict(moods)}
        (out / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True), encoding="utf-8")
    return counts


def _read(path: Path, schema: dict[str, Any], key: str, reasons: Counter[str]) -> pl.DataFrame:
    read = pl.read_ndjson(path, schema=schema, ignore_errors=True).with_columns(
        pl.col("timestamp").str.to_datetime(time_zone="UTC", strict=False)
    )
    fit = read.drop_nulls([key, "user_id", "timestamp", "interaction_id"]).unique(key, maintain_order=True)
    reasons["unreadable"] += read.height - fit.height
    return fit.sort("timestamp", key)


def _redact(rows: pl.DataFrame, events: pl.DataFrame, reasons: Counter[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    said = pl.concat_str([pl.col(name) for name in _SAID], separator="\n", ignore_nulls=True)
    about = events.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in _SAID))
    heard = about.group_by("interaction_id").agg(said.str.join("\n").alias("said"))
    turns = pl.col("history").list.eval(pl.element().struct.field("content")).list.join("\n")
    whole = (
        rows.select("interaction_id", "query", "response", "context", turns.alias("turns"))
        .join(heard, on="interaction_id", how="left", maintain_order="left")
        .select(
            "interaction_id",
            pl.concat_str(pl.exclude("interaction_id"), separator="\n", ignore_nulls=True).alias("all"),
        )
    )
    gates = {kind: pl.col("all").str.contains(pattern) for kind, pattern in rules.PERSONAL.items()}
    hits = whole.select("interaction_id", **gates).filter(pl.any_horizontal(list(rules.PERSONAL)))
    patterns = {kind: re.compile(pattern) for kind, pattern in rules.PERSONAL.items()}
    texts = hits.select("interaction_id").join(
        rows.select("interaction_id", "query", "response", "context", "history"), on="interaction_id", how="left"
    )
    words = about.join(hits.select("interaction_id"), on="interaction_id", how="semi")
    written: dict[str, list[tuple[str, str, str]]] = {}
    for event in words.select("interaction_id", "event_id", *_SAID).iter_rows(named=True):
        own = written.setdefault(event["interaction_id"], [])
        own += [(event["event_id"], name, event[name]) for name in _SAID if event[name]]
    changed: list[dict[str, Any]] = []
    replaced: dict[str, dict[str, str]] = {}
    kinds = list(rules.PERSONAL)
    for flags, row in zip(hits.select(kinds).iter_rows(), texts.iter_rows(named=True), strict=True):
        name = row["interaction_id"]
        given = [row["query"], row["response"], row["context"] or "", *(turn["content"] for turn in row["history"])]
        given += [text for _, _, text in written.get(name, ())]
        asked = [kind for kind, flag in zip(kinds, flags, strict=True) if flag]
        found = [_find(text, asked, patterns) for text in given]
        if not any(found):
            continue
        clean, counts = rules.replace_spans(given, found)
        reasons.update({f"redacted {kind}": count for kind, count in counts.items()})
        upto = 3 + len(row["history"])
        history = [{**turn, "content": text} for turn, text in zip(row["history"], clean[3:upto], strict=True)]
        changed.append(
            {
                "interaction_id": name,
                "query": clean[0],
                "response": clean[1],
                "context": clean[2] or None,
                "history": history,
            }
        )
        for (event_id, column, _), text in zip(written.get(name, ()), clean[upto:], strict=True):
            replaced.setdefault(event_id, {"event_id": event_id})[column] = text
    if changed:
        fresh = pl.DataFrame(changed, schema_overrides={"history": pl.List(_TURN), "context": pl.String})
        rows = rows.update(fresh, on="interaction_id")
    if replaced:
        schema = {"event_id": pl.String, **dict.fromkeys(_SAID, pl.String)}
        events = events.update(pl.DataFrame(list(replaced.values()), schema=schema), on="event_id")
    return rows, events


def _find(text: str, kinds: list[str], patterns: dict[str, re.Pattern[str]]) -> list[tuple[int, int, str]]:
    return [
        (hit.start(), hit.end(), kind)
        for kind in kinds
        for hit in patterns[kind].finditer(text)
        if kind not in rules.VALIDATORS or rules.VALIDATORS[kind](hit.group())
    ]


def _count(rows: pl.DataFrame, reason: pl.Expr, reasons: Counter[str]) -> pl.DataFrame:
    judged = rows.with_columns(reason.alias("reason"))
    reasons.update(dict(judged["reason"].drop_nulls().value_counts().iter_rows()))
    return judged.filter(pl.col("reason").is_null()).drop("reason")


def _screen(rows: pl.DataFrame) -> pl.Expr:
    answer = pl.col("response")
    turns = pl.col("history").list.eval(pl.element().struct.field("content")).list.join("\n")
    asked = pl.concat_str([turns, "query", "response", pl.col("context").fill_null("")], separator="\n")
    words = answer.str.count_matches(r"\S+")
    rare = answer.str.to_lowercase().str.count_matches(r"\S*[bcdfghjklmnpqrstvwxz]{5,}\S*")
    loops = pl.Series([rules.repeats_itself(text) for text in rows["response"]])
    return (
        pl.when(~pl.col("completed").fill_null(True))
        .then(pl.lit("incomplete"))
        .when(answer.str.strip_chars() == "")
        .then(pl.lit("empty"))
        .when(pl.lit(loops))
        .then(pl.lit("repeats itself"))
        .when((words >= 5) & (rare > words / 3))
        .then(pl.lit("gibberish"))
        .when(answer.str.contains(rules.SCREENS["refusal"]))
        .then(pl.lit("refusal"))
        .when(answer.str.contains(rules.SCREENS["truncated"]))
        .then(pl.lit("truncated"))
        .when(asked.str.contains(rules.SCREENS["toxic"]))
        .then(pl.lit("toxic"))
        .when(asked.str.contains(rules.SCREENS["prompt injection"]))
        .then(pl.lit("prompt injection"))
    )


def _screen_corrections(rows: pl.DataFrame, events: pl.DataFrame, reasons: Counter[str]) -> pl.DataFrame:
    events = events.join(rows.select("interaction_id", "response"), on="interaction_id", maintain_order="left")
    text = pl.col("corrected_response")
    bad = text.str.contains(rules.SCREENS["toxic"]) | text.str.contains(rules.SCREENS["prompt injection"])
    fit = events.filter(~bad.fill_null(False))
    reasons["abusive correction"] += events.height - fit.height
    same = text.str.replace_all(r"\s+", " ") == pl.col("response").str.replace_all(r"\s+", " ")
    return fit.with_columns(pl.when(~same).then(text).alias("corrected_response")).drop("response")


def _fits(texts: pl.Series, tokenizer: Any) -> pl.Series:
    encoded = tokenizer.encode_batch_fast(texts.to_list(), add_special_tokens=False)
    return pl.Series([rules.LOW <= len(each.ids) <= rules.HIGH for each in encoded], dtype=pl.Boolean)


def _score(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    kind, amount = pl.col("feedback_type"), pl.col("metadata").struct.field
    worth = (
        pl.when(kind == "rating")
        .then((pl.col("rating") - 3) / 2)
        .when(kind == "duel")
        .then(pl.col("preferred").replace_strict({"this": 0.5, "other": -0.5}, default=0.0, return_dtype=pl.Float64))
        .when(kind == "accepted")
        .then(pl.when(amount("seconds") <= 3.0).then(0.6).otherwise(0.0))
        .when(kind == "citation_click")
        .then(0.3 * amount("count").fill_null(1.0))
        .when(kind == "read_time")
        .then(pl.when(amount("read_s") / amount("expected_s") >= 0.8 - 1e-9).then(0.5).otherwise(0.0))
        .otherwise(kind.replace_strict(_WORTH, default=0.0, return_dtype=pl.Float64))
    )
    said = kind.is_in(rules.EXPLICIT)
    heard = (
        events.sort("timestamp", "event_id")
        .with_columns(worth.alias("worth"), said.alias("said"))
        .group_by("interaction_id")
        .agg(
            pl.col("worth").filter("said").last().clip(-1, 1).alias("explicit"),
            pl.col("worth").filter(~pl.col("said")).sum().clip(-1, 1).alias("implicit"),
            pl.col("corrected_response").drop_nulls().last().alias("correction"),
            pl.col("event_id").alias("events"),
        )
        .with_columns((pl.col("explicit").fill_null(0) + pl.col("implicit")).clip(-1, 1).alias("total"))
    )
    scored = rows.join(heard, on="interaction_id", maintain_order="left").with_row_index("row")
    # many rows rest on one passage, so its words are taken out once
    passages = scored.select("context").drop_nulls().unique().with_columns(_long_words("context").alias("known"))
    scored = scored.join(passages, on="context", how="left", maintain_order="left")
    words = _long_words("response")
    shared = words.list.set_intersection("known").list.len()
    used = (shared >= 0.3 * words.list.len()) & (words.list.len() > 0)
    quality = 0.4 * pl.col("explicit").fill_null(0) + 0.3 * pl.col("implicit") + 0.15 + 0.15 * used.fill_null(False)
    return scored.with_columns(quality.clip(0, 1).alias("quality")).drop("known")


_WORTH = {
    "thumbs_up": 1.0,
    "thumbs_down": -1.0,
    "correction": -0.5,
    "abandonment": -0.8,
    "reformulation": -0.5,
    "copied": 0.4,
}


def _long_words(name: str) -> pl.Expr:
    return pl.col(name).str.to_lowercase().str.extract_all(r"\w{4,}").list.unique()


def _find_topics(scored: pl.DataFrame) -> pl.DataFrame:
    unknown = scored.filter(pl.col("topic").is_null()).select("row", "words")
    if unknown.height < rules.MAX_TOPICS:
        return scored.with_columns(pl.col("topic").fill_null("unlabelled"))
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(max_features=4096).fit_transform(unknown["words"].to_list())
    labels = MiniBatchKMeans(rules.MAX_TOPICS, random_state=7, n_init=1).fit_predict(vectors)
    found = unknown.select("row", topic=pl.format("topic-{}", pl.Series(labels)))
    return scored.update(found, on="row")


def _split(scored: pl.DataFrame, reasons: Counter[str]) -> pl.DataFrame:
    users = scored.select("user_id").unique()
    order = pl.Enum(_PARTS)
    parts = users.with_columns(pl.Series("part", [rules.choose_part(user) for user in users["user_id"]], dtype=order))
    dealt = scored.join(parts, on="user_id", maintain_order="left")
    strictest = pl.col("part").to_physical().max().over("cluster")
    kept = dealt.filter(pl.col("part").to_physical() == strictest)
    reasons["prompt stands in another part"] += dealt.height - kept.height
    return kept.with_columns(pl.col("part").cast(pl.String))


def _gather_sessions(rows: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
    turns = rows.drop_nulls("session_id").filter(pl.len().over("user_id", "session_id") > 1)
    turns = turns.join(scored.select("interaction_id", "total", "events"), on="interaction_id", how="left")
    own = turns.sort("timestamp").group_by("user_id", "session_id", maintain_order=True)
    return own.agg(
        pl.col("history", "query", "response").last(),
        pl.col("total").alias("rewards"),
        pl.col("interaction_id").alias("interactions"),
        pl.col("events").explode(),
    ).with_columns(pl.lit("train").alias("part"))
