"""Shapes training rows: caps, balance over topics, paraphrases, earlier rows; and keeps held-out prompts out of them.

Rows of this window stand in clusters of which each has one part, so none of them is near to a held-out prompt. What is
new (a paraphrase, an earlier row) is compared with all held-out prompts, and everything with the regression cases,
which people write by hand.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flytewheel.curation.account import Account
from flytewheel.curation.augment import Reword, add_paraphrases
from flytewheel.curation.balance import balance_topics, cap_rows, weigh_topics
from flytewheel.curation.draft import Draft
from flytewheel.curation.duplicates import find_near
from flytewheel.curation.fingerprints import PromptFingerprints, fingerprint_prompts
from flytewheel.curation.judged import Table
from flytewheel.curation.paraphraser import open_paraphraser
from flytewheel.curation.prepare import Rules
from flytewheel.curation.prompts import describe_prompt, normalise_all
from flytewheel.curation.replay import add_replayed
from flytewheel.dataset import Dataset
from flytewheel.records import Message

_AT_ONCE = 50_000


class TrainingRows:
    """What happens to rows once they are made, the same for each kind, most of it to training rows only."""

    def __init__(
        self,
        table: Table,
        prints: PromptFingerprints,
        rules: Rules,
        *,
        seed: int,
        earlier: Dataset | None,
        cache: Path | None,
    ) -> None:
        self._table = table
        self._prints = prints
        self._rules = rules
        self._seed = seed
        self._earlier = earlier
        self._reword = _open_reword(rules, seed, cache)
        self._accounts: list[Account] = []

    def take_accounts(self) -> list[Account]:
        """The accounts of the steps since the last call."""
        taken, self._accounts = self._accounts, []
        return taken

    def cap(self, kind: str, part: str, drafts: Sequence[Draft]) -> list[Draft]:
        """Caps users and prompts, in every part."""
        spec = self._rules.curation
        kept, account = cap_rows(
            kind, part, drafts, max_per_user=spec.max_rows_per_user, max_per_cluster=spec.max_rows_per_cluster
        )
        self._accounts.append(account)
        return kept

    def shape(self, kind: str, drafts: Sequence[Draft]) -> list[Draft]:
        """Balances, paraphrases (sft only) and mixes in earlier rows."""
        spec, kept = self._rules.curation, list(drafts)
        if spec.balance_topics and spec.balance_by == "cap":
            kept, account = balance_topics(kind, kept, max_ratio=spec.max_topic_ratio)
            self._accounts.append(account)
        elif spec.balance_topics:
            weights = weigh_topics([draft.topic for draft in kept], max_ratio=spec.max_topic_ratio)
            kept = [replace(draft, weight=weight) for draft, weight in zip(kept, weights, strict=True)]
        if kind == "sft":
            kept, account = add_paraphrases(
                kept,
                self._table,
                factor=spec.augmentation_factor,
                max_per_user=spec.max_rows_per_user,
                max_per_cluster=spec.max_rows_per_cluster,
                seed=self._seed,
                reword=self._reword,
            )
            self._accounts.append(account)
        if self._earlier is not None:
            kept, account = add_replayed(
                kind,
                kept,
                list(self._earlier.rows(kind, "train")),
                spec=spec,
                seed=self._seed,
                present=self._list_present(kept),
                system_prompt=self._rules.base.system_prompt,
            )
            self._accounts.append(account)
        return kept

    def guard(self, held_out: Collection[int], suite: Sequence[Sequence[Message]]) -> NDArray[np.bool_]:
        """Fixes what training must not come near to: distinct prompts of the held-out parts, and regression cases.

        Returns:
            Of each distinct prompt of the window, whether it is near to a regression case.
        """
        similarity = self._rules.curation.near_duplicate_similarity
        told = [describe_prompt(prompt, self._rules.base.system_prompt) for prompt in suite]
        cases = fingerprint_prompts([one.query for one in told], [one.background for one in told], similarity)
        held = self._prints.take(np.array(sorted(held_out), dtype=np.int64))
        self._targets = (held, cases)
        self._near_suite = find_near(self._prints, cases, similarity)
        return self._near_suite

    def decontaminate(self, kind: str, drafts: Sequence[Draft]) -> list[Draft]:
        """Takes out rows whose prompt is near to what `guard` was given."""
        account = Account(f"decontaminate ({kind})", len(drafts))
        fresh = [draft for draft in drafts if draft.prompt < 0]
        near = dict(zip((draft.id for draft in fresh), self._find_near(fresh), strict=True))
        kept = []
        for draft in drafts:
            if near[draft.id] if draft.prompt < 0 else self._near_suite[draft.prompt]:
                account.drop("near to a held-out prompt or regression case", draft.shown)
            else:
                kept.append(draft)
        self._accounts.append(account.close())
        return kept

    def _find_near(self, fresh: Sequence[Draft]) -> NDArray[np.bool_]:
        if not fresh:
            return np.zeros(0, dtype=np.bool_)
        similarity = self._rules.curation.near_duplicate_similarity
        queries, backgrounds = self._describe(fresh)
        probes = fingerprint_prompts(queries, backgrounds, similarity)
        near = [find_near(probes, targets, similarity) for targets in self._targets]
        return np.asarray(np.logical_or.reduce(near)[probes.index], dtype=np.bool_)

    def _describe(self, fresh: Sequence[Draft]) -> tuple[list[str], list[str]]:
        """Normalised queries and backgrounds of new prompts."""
        queries, backgrounds = [""] * len(fresh), [""] * len(fresh)
        reworded = [place for place, draft in enumerate(fresh) if draft.earlier is None]
        for start in range(0, len(reworded), _AT_ONCE):
            places = reworded[start : start + _AT_ONCE]
            rows = self._table.fetch([fresh[place].shown for place in places], ("background",))["background"]
            words = normalise_all([fresh[place].query or "" for place in places])
            for place, query, background in zip(places, words, rows, strict=True):
                queries[place], backgrounds[place] = query, background
        for place, draft in enumerate(fresh):
            if draft.earlier is not None:
                told = describe_prompt(draft.earlier.prompt, self._rules.base.system_prompt)
                queries[place], backgrounds[place] = told.query, told.background
        return queries, backgrounds

    def _list_present(self, drafts: Sequence[Draft]) -> set[tuple[str, tuple[int, ...]]]:
        names = self._prints.names
        return {(names[draft.prompt], self._key_texts(draft)) for draft in drafts if draft.prompt >= 0}

    def _key_texts(self, draft: Draft) -> tuple[int, ...]:
        columns = {"response": "response_key", "correction": "correction_key", "other": "other_key"}
        return tuple(int(self._table.light[columns[column]][place]) for place, column in draft.texts)


def _open_reword(rules: Rules, seed: int, cache: Path | None) -> Reword | None:
    paraphraser = rules.curation.paraphraser
    return None if paraphraser is None else open_paraphraser(paraphraser, seed=seed, cache=cache)
