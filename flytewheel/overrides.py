"""What a person decides in the place of the gate: recorded with name and reason, about one candidate of one run.

A turn whose gate held or rejected has come to its end. An override to promote opens its run again: the next turn of the
same recipe resumes it (its data set is frozen, its trainings are finished), evaluates the same candidate, and its gate
reads the override (`overrule`). It counts for the very weights that were judged; and one that is kinder than the gate
counts only while the gate still says what the person saw, so that a figure which turned since is looked at again.
Overrides are only ever appended to, and the last one of a run counts; none is inherited by another run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from flytewheel.database import Connection, connect
from flytewheel.errors import GateError
from flytewheel.records import Decision, Verdict, to_jsonable
from flytewheel.runs import read_reports

LEAST_WORDS, MOST_CHARACTERS, LONGEST_NAME = 3, 2000, 200
_SEVERITY = {Decision.PROMOTE_TO_CANARY: 0, Decision.HOLD: 1, Decision.REJECT: 2}


@dataclass(frozen=True, slots=True)
class Override:
    """`decision` instead of the gate's `verdict`, about the weights with the digest `candidate`."""

    run_id: str
    candidate: str
    verdict: Decision
    decision: Decision
    by: str
    reason: str
    at: datetime

    def describe(self) -> str:
        """In one line, for the reasons of a verdict."""
        return (
            f"overruled by {self.by} on {self.at:%Y-%m-%d %H:%M}: {self.decision} instead of the gate's "
            f"{self.verdict}, because: {self.reason}"
        )


def overrule(verdict: Verdict, candidate: str, overrides: Sequence[Override]) -> tuple[Verdict, Override | None]:
    """The verdict that counts, and the override that made it so.

    Args:
        verdict: The gate's own.
        candidate: Digest of the weights that were judged now.
        overrides: Of this run, the oldest first.
    """
    if not overrides:
        return verdict, None
    last = overrides[-1]
    if last.candidate != candidate:
        why = f"{last.by} decided about the weights {last.candidate[:12]}, these are {candidate[:12]}"
    elif _SEVERITY[last.decision] < _SEVERITY[verdict.decision] and verdict.decision is not last.verdict:
        why = f"{last.by} overruled a {last.verdict}, the gate says {verdict.decision} now: look at it again"
    else:
        return replace(verdict, decision=last.decision, reasons=(last.describe(), *verdict.reasons)), last
    return replace(verdict, reasons=(f"not overruled: {why}", *verdict.reasons)), None


def record_override(
    database_url: str, run_id: str, decision: Decision, *, by: str, reason: str, candidate: str | None = None
) -> Override:
    """Records what a person decided about a run's candidate, and opens the run again where that is to be released.

    Args:
        database_url: PostgreSQL.
        run_id: A run that came to its gate.
        decision: Instead of the one that counts now.
        by: Who decided.
        reason: A few words at least.
        candidate: Digest of the weights that it is about, or its beginning; without it those that were judged.

    Raises:
        DatabaseError: PostgreSQL is away.
        GateError: the run is unknown, has not come to its gate or is past it, the weights are others, or name or reason
            say nothing. Nothing is recorded.
    """
    by, reason = _check_words(by, reason)
    with connect(database_url) as connection:
        status = _lock_run(connection, run_id)
        reports = read_reports(database_url, run_id)
        gate = _check_judged(run_id, reports, candidate)
        _check_not_registered(reports)
        earlier = _select(connection, run_id)
        counts = earlier[-1].decision if earlier else Decision(gate["decision"])
        if counts is decision and not (status == "succeeded" and gate["decision"] != decision):
            raise GateError(f"run {run_id}: {decision} is what counts already; see `flytewheel gate show {run_id}`")
        if decision is Decision.PROMOTE_TO_CANARY:
            _reopen(connection, run_id)
        row = connection.execute(
            "INSERT INTO gate_overrides (run_id, candidate, verdict, decision, by, reason) "
            "VALUES (%s, %s, %s, %s, %s, %s) RETURNING at",
            (run_id, gate["candidate"], gate["verdict"], decision, by, reason),
        ).fetchone()
        assert row is not None
        made = Override(run_id, gate["candidate"], Decision(gate["verdict"]), decision, by, reason, row[0])
        if status == "succeeded" and decision is not Decision.PROMOTE_TO_CANARY:
            _tell_report(connection, made, gate)
    return made


def read_overrides(database_url: str, run_id: str) -> list[Override]:
    """What people decided about a run's candidate, the oldest first."""
    with connect(database_url) as connection:
        return _select(connection, run_id)


def check_released(database_url: str, run_id: str) -> None:
    """Stops a release that a person held after the gate had let it pass.

    Raises:
        GateError: the last override of the run is not to promote.
    """
    overrides = read_overrides(database_url, run_id)
    if overrides and overrides[-1].decision is not Decision.PROMOTE_TO_CANARY:
        raise GateError(f"run {run_id} is not released: {overrides[-1].describe()}; run the recipe again to end it")


def _check_words(by: str, reason: str) -> tuple[str, str]:
    by, reason = (" ".join("".join(c if c.isprintable() else " " for c in text).split()) for text in (by, reason))
    if not by or len(by) > LONGEST_NAME:
        raise GateError(f"expected the name of who decides, up to {LONGEST_NAME} characters, got {len(by)}; give --by")
    if len(reason.split()) < LEAST_WORDS or len(reason) > MOST_CHARACTERS:
        raise GateError(
            f"expected a reason of {LEAST_WORDS} words or more, up to {MOST_CHARACTERS:,} characters, got "
            f"{reason[:40]!r}; say with --reason what the gate did not know"
        )
    return by, reason


def _lock_run(connection: Connection, run_id: str) -> str:
    row = connection.execute("SELECT status FROM runs WHERE run_id = %s FOR UPDATE", (run_id,)).fetchone()
    if row is None:
        raise GateError(f"no run {run_id!r} in this database: see `flytewheel runs list`")
    return str(row[0])


def _check_judged(run_id: str, reports: Mapping[str, Mapping[str, Any]], candidate: str | None) -> Mapping[str, Any]:
    """The report of the run's gate."""
    gate = reports.get("gate", {})
    if gate.get("status") != "succeeded":
        begun = [name for name, report in reports.items() if report["status"] in ("running", "failed")]
        where = f"it stands at {begun[-1]}" if begun else "it has not begun to judge"
        raise GateError(f"run {run_id} has not come to its gate, {where}: there is no verdict to overrule yet")
    judged = gate.get("candidate")
    if not judged:
        raise GateError(f"run {run_id}: its gate did not note which weights it judged; run the recipe again")
    if candidate is not None and (len(candidate) < 6 or not judged.startswith(candidate)):
        raise GateError(f"run {run_id} judged the weights {judged[:12]}, not {candidate[:12]}; nothing was overruled")
    trained = reports.get("align", {}).get("adapter_digest")
    if trained and trained != judged:
        raise GateError(
            f"run {run_id} was trained again since its gate judged {judged[:12]}, it holds {trained[:12]} now: "
            "run the recipe again, then look at its verdict"
        )
    return gate


def _check_not_registered(reports: Mapping[str, Mapping[str, Any]]) -> None:
    launched, registered = reports.get("launch_canary", {}), reports.get("register", {})
    if launched.get("experiment_id"):
        raise GateError(
            f"{launched['treatment']} is past the gate, its canary is {launched['experiment_id']}: what becomes of it "
            "is up to `flytewheel rollout` (status, tick)"
        )
    if registered.get("status") == "succeeded":
        raise GateError(
            f"past the gate: the candidate is registered as {registered['version']}; a canary of it is up to "
            "`flytewheel rollout`"
        )


def _reopen(connection: Connection, run_id: str) -> None:
    newer = connection.execute(
        "SELECT later.run_id FROM runs later JOIN runs mine USING (name, recipe_digest) "
        "WHERE mine.run_id = %s AND later.started_at > mine.started_at ORDER BY later.started_at DESC LIMIT 1",
        (run_id,),
    ).fetchone()
    if newer is not None:
        raise GateError(
            f"run {run_id} cannot go on: {newer[0]} of the same recipe began after it; overrule that one, or change "
            "nothing"
        )
    connection.execute(
        "UPDATE runs SET status = 'running', error = NULL, ended_at = NULL WHERE run_id = %s AND status = 'succeeded'",
        (run_id,),
    )


def _tell_report(connection: Connection, made: Override, gate: Mapping[str, Any]) -> None:
    """A turn that has ended and stays so: its report says at once what counts."""
    own = [line for line in gate["reasons"] if not line.startswith("overruled by ")]
    told = {"decision": made.decision, "override": to_jsonable(made), "reasons": [made.describe(), *own]}
    connection.execute(
        "UPDATE run_stations SET report = report || %s WHERE run_id = %s AND station = 'gate'",
        (Jsonb(told), made.run_id),
    )


def _select(connection: Connection, run_id: str) -> list[Override]:
    rows = connection.execute(
        "SELECT candidate, verdict, decision, by, reason, at FROM gate_overrides WHERE run_id = %s ORDER BY entry",
        (run_id,),
    )
    return [Override(run_id, row[0], Decision(row[1]), Decision(row[2]), *row[3:]) for row in rows]
