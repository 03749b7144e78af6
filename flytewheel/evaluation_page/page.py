"""The page of a judgement, from top to bottom: verdict, figures, topics, answers, regression cases, details, curves,
what the canary to come can tell, and where it all comes from.

It is one file: no script, nothing loaded, as its content policy says to the browser; read in light and in dark, on a
phone and on paper.
"""

from __future__ import annotations

import os
from pathlib import Path

from flytewheel import figures as pictures
from flytewheel.evaluation_page.answers import draw_answers, draw_regressions
from flytewheel.evaluation_page.details import draw_details
from flytewheel.evaluation_page.figures import draw_figures, spell
from flytewheel.evaluation_page.style import BODY_STYLE, STYLE, section, words
from flytewheel.evaluation_page.subject import Subject
from flytewheel.evaluation_page.topics import draw_topics
from flytewheel.evaluation_page.verdict import LOOKS, decision_of, draw_verdict
from flytewheel.training_deck import draw_curves

REPORT = "report.html"
_PLACES = {
    "figures": "Figures",
    "topics": "Topics",
    "answers": "Answers",
    "regressions": "Regression cases",
    "details": "Details",
    "training": "Training",
    "canary": "The canary to come",
    "origin": "Where it comes from",
}


def write_page(subject: Subject, folder: Path) -> Path:
    """Writes `report.html` into `folder`, made if missing; it appears whole or not at all. Returns where it lies."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{REPORT}.part"
    draft.write_text(draw_page(subject), encoding="utf-8")
    os.replace(draft, folder / REPORT)
    return folder / REPORT


def draw_page(subject: Subject) -> str:
    """The whole page as a document of its own."""
    title = (
        f"{LOOKS[said][2]}: {_title(subject)}" if (said := decision_of(subject.verdict)) in LOOKS else _title(subject)
    )
    return pictures.document(title, BODY_STYLE, draw_deck(subject))


def draw_deck(subject: Subject) -> str:
    """The page as a part of another one."""
    parts = [
        draw_figures(subject),
        draw_topics(subject),
        draw_answers(subject),
        draw_regressions(subject),
        draw_details(subject),
        _draw_training(subject),
        _draw_canary(subject),
        _draw_origin(subject),
    ]
    links = "".join(
        f'<a href="#{name}">{title}</a>' for (name, title), part in zip(_PLACES.items(), parts, strict=True) if part
    )
    head = f'<p class="soft">Evaluation</p><h1>{words(_title(subject))}</h1>'
    return (
        f'{STYLE}<main class="fw-e" lang="en">{head}{draw_verdict(subject)}'
        f'<nav aria-label="Parts of this page">{links}</nav>{"".join(parts)}</main>'
    )


def _title(subject: Subject) -> str:
    return f"{subject.candidate} against {subject.champion}"


def _draw_training(subject: Subject) -> str:
    parts = []
    for station, report in subject.trainings.items():
        drawn = "".join(draw_curves(report, titled=False))
        if drawn:
            parts.append(f'<div class="card"><h3>{words(spell(station))}</h3>{drawn}</div>')
    return section("training", "Training", *parts)


def _draw_canary(subject: Subject) -> str:
    lines = "".join(f"<li>{words(line)}</li>" for line in subject.plan)
    return section("canary", _PLACES["canary"], f'<div class="card"><ul>{lines}</ul></div>' if lines else "")


def _draw_origin(subject: Subject) -> str:
    found = subject.evaluation
    facts = [
        *subject.origin,
        ("data set", str(found.get("dataset") or "unknown")),
        ("seed", str(found.get("seed", "unknown"))),
        ("device", str(found.get("device") or "unknown")),
        ("champion's kind", str(found.get("champion") or "unknown")),
    ]
    seen: dict[str, str] = {}
    for name, value in facts:
        seen.setdefault(name, value)
    rows = "".join(
        f'<tr><th scope="row">{words(name)}</th><td>{words(value)}</td></tr>' for name, value in seen.items() if value
    )
    commands = "".join(f"<li><code>{words(line)}</code> {words(what)}</li>" for line, what in subject.commands)
    told = f"<h3>To see more</h3><ul>{commands}</ul>" if commands else ""
    notes = "".join(f"<li>{words(note)}</li>" for note in found.get("notes") or ())
    noted = f"<h3>Notes</h3><ul>{notes}</ul>" if notes else ""
    return section(
        "origin", "Where it comes from", f'<div class="card"><table><tbody>{rows}</tbody></table>{told}{noted}</div>'
    )
