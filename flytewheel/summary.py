"""The table that a turn ends with, from the reports of its stations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel import runs
from flytewheel.figures import describe_held_out, describe_interval
from flytewheel.local.services import Services
from flytewheel.records import Interval

METRICS = ("perplexity", "preference_accuracy", "regression_pass_rate", "rouge_l", "bleu")  # the rest by name
OUTCOME = ("gate", "verdict", "decks")  # the first row that comes after the comparison


@dataclass(frozen=True, slots=True)
class Summary:
    """A turn as pairs of a name and a line, in the order of the loop."""

    run: runs.Run
    rows: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, str, str, str], ...] = ()

    def facts(self) -> dict[str, str]:
        """Everything as one mapping, for the deck."""
        compared = {name: " / ".join(figures) for name, *figures in self.metrics}
        return {**dict(self.rows), **compared}

    def print(self) -> None:
        """Writes the turn to the terminal: what went in, candidate against champion, what came out."""
        from rich.console import Console
        from rich.table import Table

        console = Console(width=None if Console().is_terminal else 120)
        outcome = next((index for index, row in enumerate(self.rows) if row[0] in OUTCOME), len(self.rows))
        compared = Table("metric", "candidate", "champion", "difference", title_justify="left")
        for row in self.metrics:
            compared.add_row(*row)
        console.print(_rows_as_table(f"Turn {self.run.run_id}", self.rows[:outcome]))
        if self.metrics:
            console.print(compared)
        console.print(_rows_as_table(None, self.rows[outcome:]))


def summarise(services: Services, run_id: str) -> Summary:
    """Reads what the stations of a run left behind.

    Raises:
        DatabaseError: the run is unknown.
    """
    run = runs.read_run(services.database_url, run_id)
    reports = runs.read_reports(services.database_url, run_id)
    rows: list[tuple[str, str]] = [("recipe", f"{run.name} on base {run.recipe.base.model}")]
    evaluated = reports.get("evaluate", {})
    for station, describe in (
        ("open_turn", _opened),
        ("curate", _curated),
        ("train_sft", _trained),
        ("train_reward", _trained),
        ("align", _trained),
        ("evaluate", _nothing),
        ("gate", _judged),
        ("export_gguf", _exported),
        ("register", _registered),
        ("launch_canary", _launched),
    ):
        if station not in reports:
            continue
        if reports[station]["status"] in ("succeeded", "skipped"):
            rows.extend(describe(station, reports[station]))
        else:
            cause = reports[station].get("error")
            rows.append((station, reports[station]["status"] + (f": {cause}" if cause else "")))
    decks = services.home / "runs" / run_id / "decks"
    rows.append(("decks", _relative(decks)))
    rows.append(("time", ", ".join(f"{name} {report['seconds']:.0f} s" for name, report in _in_order(reports))))
    return Summary(run, tuple(rows), _compared(evaluated.get("metrics", {})))


def _opened(_: str, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("turn", report["reason"])]


def _curated(_: str, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    kept = {kind: sum(parts.values()) for kind, parts in report["counts"].items()}
    dropped = sorted(report["dropped"].items(), key=lambda item: -item[1])
    parts = report["counts"].get("sft", {})
    return [
        ("feedback", f"{report['interactions']:,} interactions, {report['events']:,} events"),
        ("rows kept", ", ".join(f"{kind} {count:,}" for kind, count in kept.items())),
        ("split (sft)", ", ".join(f"{part} {count:,}" for part, count in parts.items())),
        ("rows dropped", ", ".join(f"{reason} {count:,}" for reason, count in dropped) or "none"),
        ("data set", report["digest"]),
    ]


def _trained(station: str, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    if report["method"] == "skipped":
        return [(station, f"skipped: {report['reason']}")]
    first, last = (
        "not a number" if report[key] is None else f"{report[key]:.3f}" for key in ("first_loss", "last_loss")
    )
    losses = [f"loss {first} → {last}"]
    if report.get("eval_loss") is not None:
        losses.append(f"validation {report['eval_loss']:.3f}")
    resumed = f", resumed at step {report['resumed_from_step']}" if report.get("resumed_from_step") else ""
    found = report.get("redacted_rows", 0)
    redacted = f", personal data taken out of {found:,} rows" if found else ""
    needed = report.get("reference_answers", 0)
    reference = f", reference computed for {report['reference_computed']:,} of {needed:,} answers" if needed else ""
    base = f", base {report['base'][:12]}" if report.get("base") else ""
    reason = f" ({report['reason']})" if report.get("reason") else ""
    held_out = "".join(f", {line}" for line in describe_held_out(report.get("held_out") or {}))
    lines = [
        f"{report['method']}{reason}: {report['rows']:,} rows, {report['steps']:,} steps, {', '.join(losses)}, "
        f"{report['device']}{base}{resumed}{redacted}{reference}{held_out}",
        *filter(None, (report.get("truncation"), report.get("stopped"), *(report.get("fitted") or ()))),
    ]
    return [(station, "\n".join(lines))]


def _nothing(_: str, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return []  # its figures have a table of their own


def _compared(metrics: Mapping[str, Any]) -> tuple[tuple[str, str, str, str], ...]:
    names = [name for name in METRICS if name in metrics]
    names += sorted(set(metrics) - set(names))
    return tuple(
        (
            name,
            describe_interval(Interval(**metrics[name]["candidate"])),
            describe_interval(Interval(**metrics[name]["champion"])),
            describe_interval(Interval(**metrics[name]["difference"])),
        )
        for name in names
    )


def _judged(_: str, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("verdict", report["decision"]), ("reasons", "\n".join(report["reasons"]))]


def _exported(_: str, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    notes = (f"; {note}" for note in report.get("notes", ()))
    rows = [("export", f"parity held; serves {report['serve']}{''.join(notes)}")]
    metrics = report.get("speed", {}).get("metrics", {})
    figures = [
        f"{metrics[name]['candidate']['estimate']:,.0f} {unit}, champion {metrics[name]['champion']['estimate']:,.0f}"
        for name, unit in (("tokens_per_s", "tokens a second"), ("first_token_ms", "ms to the first token"))
        if name in metrics and None not in (metrics[name][side]["estimate"] for side in ("candidate", "champion"))
    ]
    return [*rows, ("speed", "; ".join(figures))] if figures else rows


def _registered(_: str, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("version", report["version"])]


def _launched(_: str, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    if report.get("skipped"):
        return [("experiment", str(report["skipped"]))]
    share = f"{report['share']:.0%} to {report['treatment']}, the rest to {report['control']}"
    return [("experiment", f"{report['experiment_id']}: {share}"), ("router", report["router"])]


def _rows_as_table(title: str | None, rows: Sequence[tuple[str, str]]) -> Any:
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _in_order(reports: Mapping[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, reports[name]) for name in runs.STATIONS if name in reports and reports[name].get("seconds") is not None
    ]


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
