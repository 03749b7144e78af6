"""Names of people, found by a model that the user has: a spaCy pipeline by name or folder, or an HTTP endpoint.

Decides nothing itself. Rules cannot find names, and a general model mistakes products and commands for people, so this
tier is off until the recipe names a model (`curation.names`).

The endpoint gets `POST {"texts": ["…", …]}` and answers `{"spans": [[[start, end], …], …]}`, a list a text, in
characters (Unicode code points) from 0, the end exclusive. Its key, if the recipe names one, goes as a bearer token.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import httpx

from flytewheel.errors import EndpointError, RecipeError
from flytewheel.pii.rules import Span
from flytewheel.recipe import EndpointSpec, NamesSpec

LABELS = frozenset(("PERSON", "PER", "persName"))
BATCH = 64
ATTEMPTS = 4
BACKOFF_S = 0.5
_TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))


class NameFinder(Protocol):
    """Finds the names of people in texts: for each text its spans, in characters, the end exclusive."""

    def __call__(self, texts: Sequence[str]) -> list[list[Span]]: ...


def open_names(spec: NamesSpec, *, sleep: Callable[[float], None] = time.sleep) -> NameFinder:
    """The finder that the recipe names.

    Args:
        spec: a spaCy model or an endpoint.
        sleep: waits between two attempts at the endpoint, in seconds.

    Raises:
        RecipeError: spaCy or the model is not installed, or the endpoint's key is not in the environment.
    """
    if spec.endpoint is not None:
        return _open_endpoint(spec.endpoint, sleep)
    return _open_spacy(spec.spacy_model or "")


def _open_spacy(model: str) -> NameFinder:
    try:
        import spacy
    except ImportError:
        raise RecipeError(
            "curation.names.spacy_model",
            [f"{model!r} needs spaCy, which is not installed; install it: pip install spacy"],
        ) from None
    try:
        pipeline = spacy.load(model)
    except (OSError, ImportError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise RecipeError(
            "curation.names.spacy_model",
            [f"{model!r} is no installed model and no folder that spaCy can read ({reason}); "
             f"install it: python -m spacy download {model}"],
        ) from None  # fmt: skip

    def find(texts: Sequence[str]) -> list[list[Span]]:
        return [
            [(entity.start_char, entity.end_char) for entity in document.ents if entity.label_ in LABELS]
            for document in pipeline.pipe(texts, batch_size=BATCH)
        ]

    return find


def _open_endpoint(spec: EndpointSpec, sleep: Callable[[float], None]) -> NameFinder:
    headers = {}
    if spec.api_key_env is not None:
        key = os.environ.get(spec.api_key_env)
        if not key:
            raise RecipeError(
                "curation.names.endpoint", [f"api_key_env: {spec.api_key_env} is not in the environment; export it"]
            )
        headers["Authorization"] = f"Bearer {key}"

    def find(texts: Sequence[str]) -> list[list[Span]]:
        batches = [list(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        with (
            httpx.Client(headers=headers, timeout=spec.timeout_s) as client,
            ThreadPoolExecutor(max_workers=spec.concurrency) as pool,
        ):
            answers = pool.map(lambda batch: _ask(client, spec, batch, sleep), batches)
            return [spans for answer in answers for spans in answer]

    return find


def _ask(
    client: httpx.Client, spec: EndpointSpec, texts: list[str], sleep: Callable[[float], None]
) -> list[list[Span]]:
    body: dict[str, Any] = {"texts": texts}
    if spec.model is not None:
        body["model"] = spec.model
    fault = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(BACKOFF_S * 2 ** (attempt - 1))
        try:
            answer = client.post(spec.url, json=body)
        except httpx.HTTPError as error:
            fault = f"{type(error).__name__}"
            continue
        if answer.status_code == 200:
            return _read_spans(answer, spec.url, texts)
        fault = f"HTTP {answer.status_code}"
        if answer.status_code not in _TRANSIENT:
            break
    raise EndpointError(
        f"curation.names.endpoint {spec.url}: expected spans for {len(texts)} texts, got {fault}; "
        "start the endpoint, or take `names` out of the recipe"
    )


def _read_spans(answer: httpx.Response, url: str, texts: list[str]) -> list[list[Span]]:
    """Spans of every text, inside it; the answer's own words are not repeated: they may quote the texts."""
    try:
        lists = answer.json()["spans"]
        spans = [[(int(start), int(end)) for start, end in one] for one in lists]
    except (ValueError, KeyError, TypeError):
        raise EndpointError(
            f'curation.names.endpoint {url}: expected {{"spans": [[[start, end], …], …]}}, got another form of answer; '
            "see flytewheel/pii/names.py for the interface"
        ) from None
    inside = len(spans) == len(texts) and all(
        0 <= start < end <= len(text) for text, one in zip(texts, spans, strict=False) for start, end in one
    )
    if not inside:
        raise EndpointError(
            f"curation.names.endpoint {url}: expected {len(texts)} lists of spans inside their texts, got {len(spans)} "
            "or spans beyond an end; count characters, not bytes"
        )
    return spans
