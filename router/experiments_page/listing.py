"""The list of experiments: each with its model, its state and its verdict in words."""

from __future__ import annotations

from collections.abc import Sequence

from flytewheel.evaluation_page.style import words
from flytewheel.experiment.reading.sentence import VERDICTS
from flytewheel.experiment.reading.summary import Summary
from router.experiments_page.style import VERDICT_LOOKS, draw_chip, draw_document, draw_region

_HEADS = ("Experiment", "Model", "State", "Treatment against control", "Share", "Users", "Verdict", "Opened")
_KEYS = {text: key for key, text in VERDICTS.items()}


def draw_listing(found: Sequence[Summary], name: str | None) -> str:
    """The whole page; `name`: the model that was asked for."""
    title = f"Experiments on {name}" if name else "Experiments"
    running = sum(one.state == "running" for one in found)
    told = f"{len(found):,} in all, {running:,} running." if found else "None yet: a turn of the loop opens one."
    head = "".join(f'<th scope="col">{text}</th>' for text in _HEADS)
    rows = "".join(_draw_row(one) for one in found)
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    card = f'<div class="card">{draw_region("Experiments", table)}</div>' if found else ""
    back = '<p><a href="/ui/experiments">All models</a></p>' if name else ""
    return draw_document(title, f"<h1>{words(title)}</h1><p>{told}</p>{back}{card}")


def _draw_row(one: Summary) -> str:
    look, sign = VERDICT_LOOKS.get(_KEYS.get(one.verdict, ""), ("plain", "·"))
    link = f'<a href="/ui/experiments/{words(one.experiment_id)}">{words(one.experiment_id)}</a>'
    cells = (
        words(one.name),
        words(one.state),
        f"{words(one.treatment)} against {words(one.control)}",
        f"{one.share:.0%}",
        "" if one.users is None else f"{one.users:,}",
        draw_chip(look, sign, one.verdict),
        "" if one.created_at is None else f"{one.created_at:%Y-%m-%d %H:%M}",
    )
    told = "".join(f'<td data-head="{head}">{cell}</td>' for head, cell in zip(_HEADS[1:], cells, strict=True))
    return f'<tr><th scope="row">{link}</th>{told}</tr>'
