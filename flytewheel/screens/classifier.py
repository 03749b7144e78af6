"""Asks a safety classifier of the user's about texts.

Speaks the two shapes in use: the moderation API (`{"results": [{"flagged": …, "category_scores": {…}}]}`, whose worst
category counts) and plain `{"scores": [0.1, …]}`. An endpoint that is away, refuses, or answers for another number of
texts than asked ends the work with one line: a screen that was asked for and did not run must not look like one that
found nothing.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from flytewheel.errors import EndpointError
from flytewheel.recipe import EndpointSpec

BATCH = 32  # texts a request; the moderation API takes as many
TRIES = 5
FIRST_WAIT_S = 0.5  # doubled with each try
LONGEST_WAIT_S = 30.0

Classify = Callable[[Sequence[str]], list[float]]


def open_classifier(
    spec: EndpointSpec,
    *,
    place: str = "curation.classifier",
    batch: int = BATCH,
    tries: int = TRIES,
    first_wait_s: float = FIRST_WAIT_S,
    pause: Callable[[float], None] = time.sleep,
) -> Classify:
    """A function that gives each text the classifier's score in [0, 1]; a text is kept out from `spec.threshold` on.

    Equal texts are sent once. The order of the answers is that of the texts, whatever the concurrency.

    Args:
        spec: Where the classifier is, its model, and the environment variable that holds its key.
        place: The recipe's field that names it.
        batch: Texts a request.
        tries: Requests before an endpoint that is away (connection, 408, 425, 429, 5xx) is given up.
        first_wait_s: Pause before the second try; doubled with each, `Retry-After` goes before.
        pause: Waits so many seconds.

    Raises:
        EndpointError: The key's variable is not set; later, the endpoint stays away, refuses, or answers nonsense.
    """
    headers = {}
    if spec.api_key_env is not None:
        key = os.environ.get(spec.api_key_env, "").strip()
        if not key:
            raise EndpointError(
                f"classifier {spec.url}: expected its key in the environment variable {spec.api_key_env}, which is not "
                f"set; export it, or take {place}.api_key_env out of the recipe"
            )
        headers["Authorization"] = f"Bearer {key}"

    def classify(texts: Sequence[str]) -> list[float]:
        different = list(dict.fromkeys(texts))
        parts = [different[start : start + batch] for start in range(0, len(different), batch)]
        scores: dict[str, float] = {}
        with (
            httpx.Client(timeout=spec.timeout_s, headers=headers) as client,
            ThreadPoolExecutor(max_workers=spec.concurrency) as pool,
        ):
            asked = [pool.submit(_ask, client, spec, part, place, tries, first_wait_s, pause) for part in parts]
            try:
                for part, answer in zip(parts, asked, strict=True):
                    scores.update(zip(part, answer.result(), strict=True))
            finally:
                for answer in asked:  # after one failure the rest need not be asked
                    answer.cancel()
        return [scores[text] for text in texts]

    return classify


def _ask(
    client: httpx.Client,
    spec: EndpointSpec,
    texts: list[str],
    place: str,
    tries: int,
    first_wait_s: float,
    pause: Callable[[float], None],
) -> list[float]:
    # A lone surrogate has no UTF-8 form; the classifier sees a question mark in its place.
    clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    body = {"input": clean} if spec.model is None else {"model": spec.model, "input": clean}
    fault = ""
    for attempt in range(tries):
        wait_s = min(first_wait_s * 2**attempt, LONGEST_WAIT_S)
        try:
            answer = client.post(spec.url, json=body)
        except httpx.TransportError as error:
            fault = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        else:
            if answer.status_code == httpx.codes.OK:
                return _read_scores(spec, answer, len(texts))
            fault = f"HTTP {answer.status_code}"
            if answer.status_code not in (408, 425, 429) and answer.status_code < 500:
                raise EndpointError(
                    f"classifier {spec.url}: expected scores, got {fault}; check its address, model and key"
                )
            wait_s = _read_wait(answer, wait_s)
        if attempt + 1 < tries:
            pause(wait_s)
    raise EndpointError(
        f"classifier {spec.url}: no answer in {tries} tries, last {' '.join(fault.split())[:120]}; start it, or take "
        f"{place} out of the recipe"
    )


def _read_wait(answer: httpx.Response, wait_s: float) -> float:
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_WAIT_S) if asked.isdigit() else wait_s


def _read_scores(spec: EndpointSpec, answer: httpx.Response, count: int) -> list[float]:
    try:
        scores = _find_scores(answer.json())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EndpointError(
            f"classifier {spec.url}: expected results[].category_scores, results[].flagged or scores, got "
            f"{' '.join(answer.text.split())[:80]!r}; is this the address of a classifier?"
        ) from error
    if len(scores) != count:
        raise EndpointError(
            f"classifier {spec.url}: expected {count} scores for {count} texts, got {len(scores)}; does it take a list?"
        )
    return scores


def _find_scores(answer: Any) -> list[float]:
    if "scores" in answer:
        return [_check(score) for score in answer["scores"]]
    return [_read_result(result) for result in answer["results"]]


def _read_result(result: Any) -> float:
    categories = result.get("category_scores")
    if categories:
        worst = max(_check(score) for score in categories.values())
        # Some servers judge by thresholds of their own; their verdict stands.
        return 1.0 if result.get("flagged") is True else worst
    if not isinstance(result["flagged"], bool):
        raise TypeError("flagged is no boolean")
    return float(result["flagged"])


def _check(score: Any) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score) or not 0 <= score <= 1:
        raise ValueError("a score outside [0, 1]")
    return float(score)
