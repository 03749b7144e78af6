"""Rows of the plain rival: from scored answers to tables for tuning, as joins and window functions of Polars."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import polars as pl

from benchmarks import curation_rules as rules

_NAMES = ("row", "interaction_id", "user_id", "topic", "cluster", "part", "events")


def build_rows(scored: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Makes the tables `sft`, `preference`, `unpaired` and `regression`, all parts in each."""
    text = pl.col("response").str.replace_all(r"\s+", " ").alias("answer")
    light = scored.select(*_NAMES, "question", "explicit", "total", "quality", "correction", "response", text)
    answers = (
        light.sort("quality", descending=True, maintain_order=True)
        .group_by("part", "question", "answer", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in _NAMES if name != "part"),
            pl.col("total").mean(),
            pl.col("explicit").mean(),
            pl.col("quality").first(),
            pl.col("response").first(),
            pl.col("correction").is_not_null().any().alias("corrected"),
        )
    )
    said = pl.col("explicit")
    corrected = light.filter(pl.col("correction").is_not_null())
    liked = answers.filter(
        ~pl.col("corrected")
        & (pl.col("total") > 0)
        & (said.is_null() | (said >= 0))
        & (pl.col("quality") >= rules.MIN_QUALITY)
    )
    none = pl.lit(None, pl.String).alias("asked")
    sft = pl.concat(
        [
            corrected.select(*_NAMES, completion="correction", rank=pl.lit(0.55), asked=none),
            liked.select(*_NAMES, completion="response", rank="quality", asked=none),
        ]
    )
    unpaired = answers.filter(said.is_not_null() & (said != 0)).select(
        *_NAMES, completion="response", label=said > 0, rank=said.abs()
    )
    own = corrected.filter(1 - pl.col("total") >= rules.MIN_MARGIN).select(
        *_NAMES, chosen="correction", rejected="response", rank=1 - pl.col("total")
    )
    judged = answers.filter(pl.len().over("part", "question") > 1)
    good = judged.filter((pl.col("quality") >= rules.MIN_CHOSEN) | (said > 0))
    bad = judged.select("part", "question", rejected="response", low="total")
    both = good.join(bad, on=["part", "question"], maintain_order="left").filter(
        pl.col("total") - pl.col("low") >= rules.MIN_MARGIN
    )
    both = both.filter(pl.int_range(pl.len()).over("part", "question") < rules.MAX_CLUSTER)
    pairs = both.select(*_NAMES, chosen="response", rejected="rejected", rank=pl.col("total") - pl.col("low"))
    expected = [
        rules.derive_expected(fix, answer)
        for fix, answer in zip(corrected["correction"], corrected["response"], strict=True)
    ]
    cases = corrected.select(*_NAMES).with_columns(pl.Series("expected", expected, dtype=pl.String))
    cases = cases.drop_nulls("expected").filter(
        (pl.col("part") != "train") & (pl.int_range(pl.len()).over("part") < rules.MAX_CASES)
    )
    return {"sft": sft, "preference": pl.concat([own, pairs]), "unpaired": unpaired, "regression": cases}


def choose_rows(data: dict[str, pl.DataFrame], reasons: Counter[str]) -> dict[str, pl.DataFrame]:
    """Caps users, clusters and topics of the training parts."""
    nth = pl.int_range(pl.len())
    for kind in ("sft", "preference", "unpaired"):
        train = data[kind].filter(pl.col("part") == "train").sort("rank", "interaction_id", descending=[True, False])
        capped = train.filter(nth.over("user_id") < rules.MAX_USER).filter(nth.over("cluster") < rules.MAX_CLUSTER)
        sizes = capped.group_by("topic").len()["len"]
        limit = rules.MAX_RATIO * float(sizes.median() or 0)  # type: ignore[arg-type]
        kept = capped.filter(nth.over("topic") < limit)
        reasons["enough rows"] += train.height - capped.height
        reasons["topic too large"] += capped.height - kept.height
        data[kind] = pl.concat([kept, data[kind].filter(pl.col("part") != "train")])
    return data


def write_rows(out: Path, data: dict[str, pl.DataFrame], scored: pl.DataFrame) -> tuple[dict[str, int], dict[str, str]]:
    """Writes a Parquet file for each kind and part; gives their rows and digests."""
    texts = scored.select("row", "query", "context", "history")
    head = pl.format("Context:\n{}", "context")
    counts, files = {}, {}
    for kind, rows in data.items():
        if "row" in rows.columns:
            rows = rows.join(texts, on="row", how="left")
            asked = pl.coalesce("asked", "query") if "asked" in rows.columns else pl.col("query")
            turns = [
                pl.when(pl.col("context").is_not_null())
                .then(pl.concat_list(pl.struct(role=pl.lit("system"), content=head)))
                .otherwise(pl.lit([], dtype=pl.List(pl.Struct({"role": pl.String, "content": pl.String})))),
                pl.col("history"),
                pl.concat_list(pl.struct(role=pl.lit("user"), content=asked)),
            ]
            rows = rows.with_columns(pl.concat_list(turns).alias("prompt")).drop("query", "context", "history", "row")
            rows = rows.with_columns(pl.lit(1.0).alias("weight")).sort("interaction_id")
        for (part,), own in rows.partition_by("part", as_dict=True).items():
            path = out / kind / f"{part}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            own.drop("part").write_parquet(path)
            counts[f"{kind}/{part}"] = own.height
            files[f"{kind}/{part}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return counts, files


def find_abuse(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Events that are not one person's own opinion: bursts, brigades, lockstep."""
    kind, rating = pl.col("feedback_type"), pl.col("rating")
    sign = (
        pl.when(kind == "rating")
        .then((rating - 3).sign())
        .when(kind == "thumbs_up")
        .then(1.0)
        .when(kind.is_in(["thumbs_down", "correction", "abandonment"]))
        .then(-1.0)
        .otherwise(0.0)
    )
    said = events.filter(kind.is_in(rules.EXPLICIT)).select(
        "event_id", "interaction_id", "user_id", "timestamp", sign.alias("sign")
    )
    said = said.sort("user_id", "timestamp")
    span = pl.duration(milliseconds=int(rules.BURST_S * 1000))
    opens = (pl.col("timestamp").shift(1 - rules.BURST_EVENTS).over("user_id") - pl.col("timestamp")) <= span
    inside = opens.fill_null(False).cast(pl.Int32).rolling_max(rules.BURST_EVENTS, min_samples=1).over("user_id") > 0
    bursts = said.filter(inside).select("event_id")
    answer = pl.concat_str(pl.col("query").str.to_lowercase(), pl.col("response"), separator="\n").rank("dense")
    votes = said.filter(pl.col("sign") != 0).join(
        rows.select("interaction_id", answer.alias("answer")), on="interaction_id"
    )
    votes = votes.filter(pl.len().over("answer", "sign") > 1).sort("timestamp")
    hours = votes.rolling("timestamp", period=f"{int(rules.BRIGADE_S)}s", group_by=["answer", "sign"]).agg(
        pl.col("user_id").n_unique().alias("users"), pl.col("event_id")
    )
    brigades = hours.filter(pl.col("users") >= rules.BRIGADE_USERS).select(pl.col("event_id").explode()).unique()
    cast = votes.select("answer", "sign", "user_id").unique()
    cast = cast.filter(pl.len().over("answer", "sign") <= 500)
    both = cast.join(cast, on=["answer", "sign"], suffix="_2").filter(pl.col("user_id") < pl.col("user_id_2"))
    pairs = both.group_by("user_id", "user_id_2").len("shared").filter(pl.col("shared") >= 5)
    counts = said.filter(pl.col("sign") != 0).group_by("user_id").len("votes")
    alike = pairs.join(counts, on="user_id").join(counts, left_on="user_id_2", right_on="user_id", suffix="_2")
    alike = alike.filter(pl.col("shared") >= rules.LOCKSTEP * pl.max_horizontal("votes", "votes_2"))
    crowd = pl.concat([alike["user_id"], alike["user_id_2"]]).unique()
    lockstep = said.filter(pl.col("user_id").is_in(crowd.implode())).select("event_id")
    return pl.concat([bursts, brigades, lockstep]).unique()
