"""Near prompts of the plain rival: trigrams in Python, rensa's signatures, bands in dictionaries, exact comparison."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import lru_cache
from typing import Any

import polars as pl
from rensa import RMinHash

from benchmarks.curation_rules import AUGMENT, PERMUTATIONS, SIMILARITY, draw_number, normalise, paraphrase, shingle

_BAND = 8  # rows of a band: sixteen bands find a pair at 0.9 with a chance of 0.9999


class NearPrompts:
    """Clusters prompts, and finds those near to held-out ones."""

    def __init__(self) -> None:
        self._bands: dict[str, list[tuple[int, ...]]] = {}

    def cluster(self, scored: pl.DataFrame) -> pl.DataFrame:
        """Adds `words`, `background`, `cluster` and `question` to the rows."""
        turns = pl.col("history").list.eval(pl.element().struct.field("content")).list.join(" ")
        before = pl.concat_str([pl.col("context").fill_null(""), turns], separator=" ")
        scored = scored.with_columns(_normalise(pl.col("query")).alias("words"))
        backgrounds = scored.select(before.alias("before"))
        distinct = backgrounds.unique().with_columns(_normalise(pl.col("before")).alias("background"))
        backgrounds = backgrounds.join(distinct, on="before", how="left", maintain_order="left")
        scored = scored.with_columns(backgrounds["background"])
        buckets: list[dict[tuple[int, ...], list[int]]] = [defaultdict(list) for _ in range(PERMUTATIONS // _BAND)]
        prompts = scored.select("words", "background").unique(maintain_order=True)
        queries, before_them = prompts["words"].to_list(), prompts["background"].to_list()
        leaders: list[int] = []
        for place, words in enumerate(queries):
            bands = self._sign(words)
            leader = place
            for bucket, band in zip(buckets, bands, strict=True):
                for other in bucket.get(band, ()):
                    if self._is_near(words, before_them[place], queries[other], before_them[other]):
                        leader = other
                        break
                if leader != place:
                    break
            else:
                for bucket, band in zip(buckets, bands, strict=True):
                    bucket[band].append(place)
            leaders.append(leader)
        named = prompts.with_columns(pl.Series("cluster", leaders))
        scored = scored.join(named, on=["words", "background"], how="left", maintain_order="left")
        numbers = pl.col("words").str.extract_all(r"\w*\d\w*").list.join(" ")
        return scored.with_columns(pl.format("{} {}", "cluster", numbers).alias("question"))

    def augment(self, sft: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
        """Adds paraphrases to the training rows: `asked` is the query put otherwise."""
        train = sft.filter(pl.col("part") == "train")
        order = pl.Series([draw_number("augment", name) for name in train["interaction_id"]])
        some = train[order.arg_sort()].head(int((AUGMENT - 1) * train.height))
        queries = some.select("row").join(scored.select("row", "query"), on="row", how="left", maintain_order="left")
        asked = [paraphrase(query, turn) for turn, query in enumerate(queries["query"])]
        return pl.concat([sft, some.with_columns(pl.Series("asked", asked, dtype=pl.String))])

    def decontaminate(
        self, data: dict[str, pl.DataFrame], scored: pl.DataFrame, reasons: Counter[str]
    ) -> dict[str, pl.DataFrame]:
        """Takes training rows out whose prompt is near to a held-out one."""
        held = scored.filter(pl.col("part") != "train").select("words", "background").unique()
        buckets: list[dict[tuple[int, ...], list[tuple[str, str]]]] = [
            defaultdict(list) for _ in range(PERMUTATIONS // _BAND)
        ]
        for words, background in held.iter_rows():
            for bucket, band in zip(buckets, self._sign(words), strict=True):
                bucket[band].append((words, background))
        texts = scored.select("row", "words", "background")
        known: dict[tuple[str, str], bool] = {}

        def meets(words: str, background: str) -> bool:
            prompt = words, background
            if prompt not in known:
                known[prompt] = any(
                    self._is_near(words, background, *other)
                    for bucket, band in zip(buckets, self._sign(words), strict=True)
                    for other in bucket.get(band, ())
                )
            return known[prompt]

        for kind in ("sft", "preference", "unpaired"):
            rows = data[kind].join(texts, on="row", how="left", maintain_order="left")
            asked = rows["asked"].to_list() if kind == "sft" else [None] * rows.height
            near = [
                part == "train" and meets(normalise(text) if text else words, background)
                for part, words, background, text in zip(
                    rows["part"], rows["words"], rows["background"], asked, strict=True
                )
            ]
            data[kind] = data[kind].filter(~pl.Series(near, dtype=pl.Boolean))
            reasons["near to a held-out prompt"] += sum(near)
        return data

    def _sign(self, words: str) -> list[tuple[int, ...]]:
        if words not in self._bands:
            signature = RMinHash(num_perm=PERMUTATIONS, seed=7)
            signature.update(shingle(words))
            digest: Any = signature.digest()
            self._bands[words] = [tuple(digest[at : at + _BAND]) for at in range(0, PERMUTATIONS, _BAND)]
        return self._bands[words]

    def _is_near(self, words: str, background: str, other: str, behind: str) -> bool:
        if _compare(words, other) < SIMILARITY:
            return False
        return background == behind or _compare(background, behind) >= SIMILARITY


@lru_cache(maxsize=100_000)
def _cut(text: str) -> frozenset[str]:
    return frozenset(shingle(text))


def _compare(one: str, other: str) -> float:
    first, second = _cut(one), _cut(other)
    shared = len(first & second)
    return shared / ((len(first) + len(second) - shared) or 1)


def _normalise(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.replace_all(r"\W+", " ").str.strip_chars()
