"""How the pages look: the style of an evaluation's page, and what pictures over time need besides."""

from __future__ import annotations

from flytewheel.evaluation_page.style import BODY_STYLE, STYLE, words
from flytewheel.figures import clean, document

LOOKS = {"harm": "bad", "hold": "unsure", "cleared": "good", "worse": "bad", "better": "good", "watch": "plain"}
SIGNS = {"harm": "✖", "hold": "…", "cleared": "✔", "worse": "✖", "better": "✔", "watch": "·"}
VERDICT_LOOKS = {
    "promote": ("good", "✔"),
    "advance": ("good", "✔"),
    "hold": ("unsure", "❚❚"),
    "roll_back": ("bad", "✖"),
    "stop_for_srm": ("bad", "✖"),
    "reject_at_max_duration": ("bad", "✖"),
}
_MORE = (
    "<style>.fw-e .skip{position:absolute;left:-999rem}.fw-e .skip:focus{position:static}"
    ".fw-e .time{display:block;width:100%;height:auto;max-width:36rem}"
    ".fw-e .time text{font:12px system-ui,sans-serif;fill:var(--soft)}.fw-e .time .end{text-anchor:end}"
    ".fw-e .time .mid{text-anchor:middle}.fw-e .time .grid{stroke:var(--line);stroke-width:1}"
    ".fw-e .time .zero{stroke:var(--ink);stroke-width:1.2}.fw-e .time .limit{stroke:var(--bad);stroke-width:1.5;"
    "stroke-dasharray:5 4}.fw-e .time .beyond{fill:var(--bad-tint)}.fw-e .time .stage{stroke:var(--soft);"
    "stroke-dasharray:2 3}.fw-e .time .band{fill:var(--accent);opacity:.18}.fw-e .time .way{fill:none;"
    "stroke:var(--accent);stroke-width:2}.fw-e .time .bar{stroke:var(--accent);stroke-width:2.5}"
    ".fw-e .time .dot{fill:var(--accent)}.fw-e .time .harm{fill:var(--bad)}.fw-e .time .hold{fill:var(--unsure)}"
    ".fw-e .time .cleared{fill:var(--good)}.fw-e .time .c0{fill:var(--soft)}.fw-e .time .c1{fill:var(--accent)}"
    ".fw-e .time .sign{fill:var(--card);font-weight:700}.fw-e .time .strong{fill:var(--ink)}"
    ".fw-e .wide th,.fw-e .wide td{overflow-wrap:break-word}.fw-e .wide .chip{white-space:nowrap}"
    ".fw-e [tabindex]:focus-visible{outline:2px solid var(--accent);outline-offset:2px}"
    ".fw-e .charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(30rem,100%),1fr));gap:.8rem}"
    ".fw-e .charts .card{margin:0}.fw-e .charts h3{margin:.1rem 0 .4rem}</style>"
)


def draw_document(title: str, *parts: str) -> str:
    """A page of its own: its body is one `main`."""
    skip = '<a class="skip" href="#verdict">To the verdict</a>' if 'id="verdict"' in "".join(parts) else ""
    body = f'{STYLE}{_MORE}<main class="fw-e" lang="en">{skip}{"".join(parts)}</main>'
    return document(clean(title), BODY_STYLE, body)


def draw_chip(look: str, sign: str, text: str) -> str:
    """An outcome as sign and word: never by colour alone."""
    return f'<span class="chip {look}"><span aria-hidden="true">{words(sign)}</span> {words(text)}</span>'


def draw_region(label: str, table: str) -> str:
    """A table that may be wider than the screen: it is scrolled by keyboard too."""
    return f'<div class="wide" role="region" tabindex="0" aria-label="{words(label)}">{table}</div>'
