"""How fast an exported file answers through the real server, beside the champion's: tokens a second, first token.

Both files are served at once by llama.cpp, each in a process of its own, and asked the same prompts over HTTP,
streamed, one request at a time. Each prompt goes to candidate, champion, champion, candidate (the next begins with the
champion), so that a machine that slows down or is shared hits both alike; requests before that warm up and are thrown
away. Every answer has the same number of tokens: the end token is ignored, or a model that says less would look
faster, and nothing of an earlier prompt is kept. A prompt's figure is the better of its two requests: what disturbs can
only slow down. What is judged are medians over prompts, with percentile intervals of resampled prompts; `ratios` are
medians of the prompts' own ratios, candidate over champion.

The first token's time holds the request's way, the prompt's evaluation and one token; tokens a second are those after
the first. It is the speed of one reader: several share a machine otherwise (`benchmarks` of the router).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from flytewheel.errors import LlamaServerError
from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.report import Evaluation
from flytewheel.evaluation.rules import judge
from flytewheel.llama_server import run_server
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import GateSpec
from flytewheel.records import Decision, Interval, Message, Verdict

TOKENS_PER_S, FIRST_TOKEN_MS = "tokens_per_s", "first_token_ms"
_WARM_UP = 2  # requests to each server
_SAMPLES = 2000
_TIMEOUT_S = 300.0
_LIMITS = httpx.Limits(max_keepalive_connections=0)  # the server drops idle ones, also while one is being used
_SEVERITY = {Decision.PROMOTE_TO_CANARY: 0, Decision.HOLD: 1, Decision.REJECT: 2}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured: figures as the gate reads them, and the ratio candidate over champion of each.

    `rows` of a figure are requests to one model, `users` prompts.
    """

    metrics: Mapping[str, Comparison]
    ratios: Mapping[str, Interval]
    skipped: int = 0


def measure_speed(
    candidate: Path,
    champion: Path,
    prompts: Sequence[tuple[Message, ...]],
    *,
    tokens: int,
    slot_tokens: int,
    threads: int,
    level: float,
    seed: int,
    progress: ProgressCallback | None = None,
) -> Speed:
    """Measures two GGUF files against each other.

    Args:
        candidate: The file that is to be served.
        champion: The file that is served.
        prompts: Each is a unit; one that does not fit `slot_tokens` is skipped and counted.
        tokens: Length of every answer.
        slot_tokens: Context of a prompt with its answer.
        threads: Of each server, of which one works at a time.
        level: Of the intervals.
        seed: Decides the resamples.
        progress: Told prompts done.

    Raises:
        LlamaServerError: a file is not served, or a server answers wrongly.
    """
    heard: list[tuple[list[tuple[float, float]], list[tuple[float, float]]]] = []
    skipped = 0
    options: dict[str, Any] = {"threads": threads, "slot_tokens": slot_tokens}
    with (
        run_server(candidate, alias="candidate", **options) as ours,
        run_server(champion, alias="champion", **options) as theirs,
        httpx.Client(timeout=_TIMEOUT_S, trust_env=False, limits=_LIMITS) as client,
    ):
        urls = (ours, theirs)
        for url in urls * _WARM_UP if prompts else ():
            ask(client, url, prompts[0], tokens)
        for done, prompt in enumerate(prompts):
            first = done % 2
            found: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
            for side in (first, 1 - first, 1 - first, first):
                if (answered := ask(client, urls[side], prompt, tokens)) is not None:
                    found[side].append(answered)
            if len(found[0]) == len(found[1]) == 2:
                heard.append(found)
            else:
                skipped += 1
            if progress is not None:
                progress("measuring speed", done + 1, len(prompts))
    return _compare(heard, skipped, level, seed)


def ask(client: httpx.Client, url: str, prompt: Sequence[Message], tokens: int) -> tuple[float, float] | None:
    """Asks once, streamed.

    Returns:
        Tokens a second after the first, and milliseconds to the first; `None` where the prompt does not fit.

    Raises:
        LlamaServerError: the server refuses, breaks off, or gives another number of tokens.
    """
    body = {
        "messages": [message.model_dump() for message in prompt],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    first = last = 0.0
    said = 0
    began = time.perf_counter()
    try:
        with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            if response.status_code == 400 and b"exceed" in response.read():
                return None
            if response.status_code != 200:
                refused = response.read().decode(errors="replace")[:200]
                raise LlamaServerError(
                    f"expected an answer of llama.cpp's server, got {response.status_code}: {refused}"
                )
            for line in response.iter_lines():
                if not line.startswith("data: {"):
                    continue
                told = json.loads(line.removeprefix("data: "))
                if any(choice["delta"].get("content") for choice in told.get("choices", ())):
                    last = time.perf_counter()
                    first = first or last
                said = (told.get("usage") or {}).get("completion_tokens", said)
    except httpx.HTTPError as error:
        raise LlamaServerError(f"llama.cpp's server broke off: {error}; look at the exported file") from None
    if said != tokens:
        raise LlamaServerError(f"expected {tokens} tokens of llama.cpp's server, got {said}; look at the exported file")
    rate = (tokens - 1) / (last - first) if last > first else float("nan")
    return rate, (first - began) * 1000 if first else float("nan")


def _compare(heard: Sequence[Any], skipped: int, level: float, seed: int) -> Speed:
    """Medians, differences and ratios over prompts."""
    table = np.array(heard, dtype=np.float64).reshape(-1, 2, 2, 2)  # (prompts, models, requests, figures)
    best = np.stack([table[..., 0].max(axis=2), table[..., 1].min(axis=2)], axis=2) if len(table) else table[..., 0]
    draws = np.random.default_rng(seed).integers(0, max(len(table), 1), size=(_SAMPLES, len(table)))
    metrics, ratios = {}, {}
    for place, name in enumerate((TOKENS_PER_S, FIRST_TOKEN_MS)):
        if len(table) < 2:
            unknown = Interval(None, None, None, level)
            metrics[name], ratios[name] = Comparison(unknown, unknown, unknown, 2 * len(table), len(table)), unknown
            continue
        ours, theirs = best[:, 0, place], best[:, 1, place]
        one, two = (_medians(side, draws) for side in (ours, theirs))
        metrics[name] = Comparison(
            _span(*one, level),
            _span(*two, level),
            _span(one[0] - two[0], one[1] - two[1], level),
            2 * len(table),
            len(table),
        )
        ratios[name] = _span(*_medians(ours / theirs, draws), level)
    return Speed(metrics, ratios, skipped)


def _medians(values: Floats, draws: NDArray[np.int64]) -> tuple[float, Floats]:
    return float(np.median(values)), np.asarray(np.median(values[draws], axis=1), dtype=np.float64)


def _span(estimate: float, drawn: Floats, level: float) -> Interval:
    if not (np.isfinite(estimate) and np.isfinite(drawn).all()):
        return Interval(None, None, None, level)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level)


def decide_speed(speed: Speed | None, gate: GateSpec) -> Verdict:
    """What the recipe's rules for speed say; without any, it passes. What was not measured holds where it is asked."""
    evaluation = Evaluation(metrics=speed.metrics if speed else {})
    findings = [finding for name, rule in gate.speed_rules.items() for finding in judge(name, rule, evaluation)]
    decision = max((found for found, _ in findings), key=_SEVERITY.__getitem__, default=Decision.PROMOTE_TO_CANARY)
    figures = {name: found.candidate.estimate for name, found in evaluation.metrics.items()}
    return Verdict(decision, tuple(text.replace(" users", " prompts") for _, text in findings), figures)
