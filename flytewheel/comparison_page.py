"""A comparison for people: the table in the terminal, and `compare.html` with its curves, which also lie beside it as
`compare.svg` and `compare.png`.

The page is one file without script that loads nothing, as its content policy says to the browser; it is read in light
and in dark, and printed in light.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from flytewheel import figures
from flytewheel.comparison import Comparison, Row, describe_stations
from flytewheel.curves import Chart, draw_chart, draw_sheet, draw_swatch
from flytewheel.curves_png import draw_png
from flytewheel.figures import clean
from flytewheel.gauges import CURVES

TITLE = "Runs side by side"
PAGE, PICTURE, PIXELS = "compare.html", "compare.svg", "compare.png"
_LONG = 60  # characters of a value in the terminal
_DIGEST = 12  # of a digest there, as `flytewheel datasets` shows it
_LONG_ON_PAGE = 600
_STYLE = (
    "<style>body{max-width:none}.fw-w{overflow-x:auto}td,th{vertical-align:top;max-width:24rem;overflow-wrap:anywhere}"
    "td{font-variant-numeric:tabular-nums}th[scope=row]{font-weight:400;white-space:nowrap}"
    "th[scope=rowgroup]{padding-top:1rem;font-size:.85rem;text-transform:uppercase;letter-spacing:.05em;color:#666}"
    "td.d{background:#fff3d6}td.d small{white-space:nowrap;color:#7a5200}ul.fw-k{list-style:none;padding:0}"
    "ul.fw-k li{margin:.2rem 0}ul.fw-k svg{margin-right:.6rem}.fw-c{display:flex;flex-wrap:wrap;gap:.8rem}"
    ".fw-c svg{max-width:100%;height:auto;break-inside:avoid}"
    "@media(prefers-color-scheme:dark){td.d{background:#3a3015}td.d small{color:#e6c26a}th[scope=rowgroup]{color:#aaa}}"
    "@page{size:landscape;margin:1.2cm}"
    "@media print{body{color:#000;background:#fff;margin:0}td.d{background:none;font-weight:600}tr{break-inside:avoid}"
    ".fw-w{overflow:visible}}</style>"
)


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes the page and the pictures into `folder`, made if missing; each appears whole or not at all.

    Returns:
        Where they lie.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    picture = draw_picture(comparison)
    written = ((PAGE, draw_page(comparison).encode()), (PICTURE, picture.encode()), (PIXELS, draw_png(picture)))
    for name, content in written:
        draft = folder / f".{name}.part"
        draft.write_bytes(content)
        os.replace(draft, folder / name)
        files.append(folder / name)
    return files


def draw_page(comparison: Comparison) -> str:
    """The whole page: table, legend, curves by station."""
    ids = [run.run_id for run in comparison.runs]
    parts = [figures.paragraph(note) for note in (_explain(comparison), *comparison.notes)]
    parts.append(f'<div class="fw-w">{_table(comparison)}</div>')
    legend = "".join(f"<li>{draw_swatch(number)}{_text(name)}</li>" for number, name in enumerate(_names(comparison)))
    parts.append(figures.section("Curves", f'<ul class="fw-k">{legend}</ul>'))
    for station, charts in _columns(comparison):
        drawn = "".join(draw_chart(chart, ids) for chart in charts)
        parts.append(f'<h3>{_text(station)}</h3><div class="fw-c">{drawn}</div>')
    if not comparison.panels:
        parts.append(figures.paragraph("None of these runs has a training curve."))
    head = f"{figures.HEAD}<title>{TITLE}</title>{figures.STYLE}{_STYLE}</head>"
    return f"{head}<body><h1>{TITLE}</h1>{''.join(parts)}</body></html>\n"


def draw_picture(comparison: Comparison) -> str:
    """The legend and all curves as one picture."""
    title = TITLE if comparison.panels else f"{TITLE}: no training curve"
    return draw_sheet(title, [charts for _, charts in _columns(comparison)], _names(comparison))


def print_comparison(comparison: Comparison) -> None:
    """Writes the table to the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Into a pipe every column gets the room that its run's name needs; nobody wants them folded there.
    width = None if Console().is_terminal else max(120, 40 + 34 * len(comparison.runs))
    console = Console(width=width)
    table = Table(title=TITLE, title_justify="left")
    table.add_column("", overflow="fold", style="bold")
    for run in comparison.runs:
        table.add_column(Text(clean(run.run_id)), overflow="fold")
    for section, rows in groupby(comparison.rows, key=lambda row: row.section):
        table.add_section()
        for row in rows:
            cells = [_cell(text, change) for text, change in zip(_texts(row, _LONG), row.changes(), strict=True)]
            styled = [Text(cell, "bold" if change else "") for cell, change in zip(cells, row.changes(), strict=True)]
            table.add_row(Text(clean(_name(section, row))), *styled)
    console.print(table)
    for note in (_explain(comparison), *comparison.notes):
        console.print(Text(clean(note)))


def _table(comparison: Comparison) -> str:
    runs = "".join(f'<th scope="col">{_text(run.run_id)}</th>' for run in comparison.runs)
    body = []
    for section, rows in groupby(comparison.rows, key=lambda row: row.section):
        body.append(f'<tr><th scope="rowgroup" colspan="{len(comparison.runs) + 1}">{_text(section)}</th></tr>')
        for row in rows:
            cells = "".join(
                f'<td class="d">{_text(text)} <small>({_text(change)})</small></td>'
                if change
                else f"<td>{_text(text)}</td>"
                for text, change in zip(_texts(row, _LONG_ON_PAGE), row.changes(), strict=True)
            )
            body.append(f'<tr><th scope="row">{_text(row.name)}</th>{cells}</tr>')
    return f"<table><thead><tr><td></td>{runs}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _columns(comparison: Comparison) -> list[tuple[str, list[Chart]]]:
    columns = []
    for station in dict.fromkeys(panel.station for panel in comparison.panels):
        panels = [panel for panel in comparison.panels if panel.station == station]
        steps = [step for panel in panels for line in panel.lines for step, _ in line]
        span = (min(steps), max(steps))
        charts = [Chart(f"{station}: {CURVES[panel.metric]}", "step", panel.lines, span) for panel in panels]
        columns.append((station, charts))
    return columns


def _names(comparison: Comparison) -> list[str]:
    return [f"{run.run_id}: {describe_stations(run)}" for run in comparison.runs]


def _explain(comparison: Comparison) -> str:
    return (
        f"In brackets: the difference to the first run, {comparison.runs[0].run_id}; ≠ where it is not a number. "
        "– where a run has no such figure. Recipe keys are shown where they differ."
    )


def _name(section: str, row: Row) -> str:
    return row.name if section in ("run", "evaluate", "recipe", "outcome") else f"{section}: {row.name}"


def _texts(row: Row, most: int) -> Sequence[str]:
    short = [" ".join(text.split()) for text in row.texts()]
    if row.name == "digest" and most == _LONG:
        return [text[:_DIGEST] for text in short]
    return [text if len(text) <= most else f"{text[: most - 1]}…" for text in short]


def _cell(text: str, change: str) -> str:
    return clean(f"{text} ({change})" if change else text)


def _text(text: str) -> str:
    return escape(clean(text))
