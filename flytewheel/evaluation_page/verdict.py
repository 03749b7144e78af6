"""The verdict, before anything else: one word, one sentence why, a person's override, and every reason in its group."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flytewheel.evaluation_page.style import words
from flytewheel.evaluation_page.subject import Subject

# decision: its look, its sign, its words
LOOKS = {
    "promote_to_canary": ("good", "✔", "Promote to canary"),
    "hold": ("unsure", "❚❚", "Hold"),
    "reject": ("bad", "✖", "Reject"),
}
_NONE = ("plain", "…", "Not decided yet")
GROUPS = {  # beginning of a reason: look, title
    "against": ("bad", "Against"),
    "cannot tell": ("unsure", "Cannot tell"),
    "for": ("good", "For"),
    "": ("plain", "Also"),
}


def draw_verdict(subject: Subject) -> str:
    """The verdict's card, then the reasons in columns."""
    decision = decision_of(subject.verdict)
    look, sign, name = LOOKS.get(decision, _NONE)
    stamp = f'<p class="stamp"><span aria-hidden="true">{sign}</span> {words(name)}</p>'
    override = _override_of(subject.verdict)
    told = f'<p class="why">{words(explain(subject))}</p>'
    if override:
        told = f'<p class="why"><strong>{words(override)}</strong></p>{told}'
    groups = group_reasons(reasons_of(subject))
    drawn = "".join(_draw_group(kind, reasons) for kind, reasons in groups.items() if reasons)
    reasons = f'<div class="reasons">{drawn}</div>' if drawn else ""
    return (
        f'<section aria-labelledby="verdict"><h2 id="verdict" hidden="">Verdict</h2>'
        f'<div class="card verdict {look}">{stamp}{told}</div>{reasons}</section>'
    )


def decision_of(verdict: Mapping[str, Any] | None) -> str:
    """The decision that counts: a person's where there is one; empty where nobody decided."""
    override = (verdict or {}).get("override")
    if isinstance(override, Mapping) and override.get("decision"):
        return str(override["decision"])
    return str((verdict or {}).get("decision") or "")


def _own_decision(verdict: Mapping[str, Any] | None) -> str:
    """What the gate itself said: under `verdict` where a person overruled it."""
    return str((verdict or {}).get("verdict") or (verdict or {}).get("decision") or "")


def reasons_of(subject: Subject) -> list[str]:
    """The verdict's reasons; before there is one, what the evaluation notes."""
    found = subject.evaluation.get("notes") if subject.verdict is None else subject.verdict.get("reasons")
    return [str(reason) for reason in found or ()]


def group_reasons(reasons: Sequence[str]) -> dict[str, list[str]]:
    """Reasons by how they begin (`GROUPS`), without that beginning."""
    groups: dict[str, list[str]] = {kind: [] for kind in GROUPS}
    for reason in reasons:
        head, colon, rest = reason.partition(":")
        kind = head.strip() if colon and head.strip() in groups else ""
        groups[kind].append(rest.strip() if kind else reason.strip())
    return groups


def explain(subject: Subject) -> str:
    """One sentence: why."""
    groups = group_reasons(reasons_of(subject))
    decision = _own_decision(subject.verdict)
    against, open_, in_favour = (groups[kind] for kind in ("against", "cannot tell", "for"))
    known = {*(subject.evaluation.get("metrics") or {}), *(subject.evaluation.get("counts") or {})}
    if not decision:
        return "These are the figures; the gate has not weighed them."
    if subject.evaluation.get("unchanged"):
        return "Candidate and champion are the same weights: there is nothing to try on anybody."
    if decision == "reject":
        return f"{_count(against, 'reason')} {_verb(against, 'speak')} against it: {_name(against, known)}."
    if decision == "hold":
        told = f"{_count(open_, 'thing')} cannot be told: {_name(open_, known)}." if open_ else "Nothing was shown."
        return f"Nothing that was asked is clearly worse, but {told[0].lower()}{told[1:]}"
    return f"Everything that was asked holds: {_name(in_favour, known)}."


def _override_of(verdict: Mapping[str, Any] | None) -> str:
    """A person's decision against the gate's, in words."""
    override = (verdict or {}).get("override")
    if not override:
        return ""
    if not isinstance(override, Mapping):
        return f"Overridden by a person: {override}"
    who = override.get("by") or "a person"
    gate = LOOKS.get(_own_decision(verdict), _NONE)[2]
    decision = decision_of(verdict)
    decided = LOOKS.get(decision, ("", "", decision or "otherwise"))[2]
    why = f", because: {override['reason']}" if override.get("reason") else ""
    return f"{who} decided: {decided}{why}. The gate had said: {gate}."


def _draw_group(kind: str, reasons: Sequence[str]) -> str:
    look, title = GROUPS[kind]
    items = "".join(f"<li>{words(reason)}</li>" for reason in reasons)
    return f'<div class="card {look}"><h3>{title} ({len(reasons)})</h3><ul>{items}</ul></div>'


def _name(reasons: Sequence[str], known: Collection[str], most: int = 4) -> str:
    """What the reasons are about: the figure that each begins with, or its own first words."""
    names = list(dict.fromkeys(_about(reason, known) for reason in reasons if reason))
    if not names:
        return "no reason was given"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _about(reason: str, known: Collection[str]) -> str:
    first = reason.split(" ", 1)[0].strip(",;:")
    if first in known:
        return first.replace("_", " ")
    return " ".join(reason.partition(":")[0].partition(";")[0].split()[:9])


def _count(things: Sequence[str], noun: str) -> str:
    number = len(things)
    return f"{'One' if number == 1 else number} {noun}{'' if number == 1 else 's'}"


def _verb(things: Sequence[str], verb: str) -> str:
    return f"{verb}s" if len(things) == 1 else verb
