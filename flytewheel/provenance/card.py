"""The model card of a version: README.md in the hub's format, for people.

Says what it is, how it was trained, how it did against the champion, what the gate decided and why, whether the files
behave as the trained weights, what it must not be expected to do, and how to run it. Everything in it comes from the
manifest; it holds no sentence of any user, since a version outlives an erasure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flytewheel.provenance.facts import kind_of, list_figures, list_parity, name_base, section, spell, text
from flytewheel.provenance.metadata import write_front_matter
from flytewheel.provenance.usage import write_usage
from registry.manifest import Manifest

_KINDS = {
    "adapter": "a LoRA adapter on {base}, and the merged model as GGUF",
    "full": "{base} with all its weights trained on, also as GGUF",
    "base": "{base} as it came, as GGUF: the model that later versions are compared with",
}
_LIMITS = (
    "It was compared with the champion on held-out users of one stream of traffic: elsewhere it may do worse.",
    "The figures are of the trained weights; the quantised files differ from them as the parity report says.",
    "It may state what is not so, and it may repeat what it was trained on.",
)


def write_card(manifest: Manifest) -> str:
    """The whole file."""
    parts = [
        f"# {manifest.name} {manifest.version}",
        _write_opening(manifest),
        *_write_training(manifest),
        *_write_evaluation(manifest),
        *_write_verdict(manifest),
        *_write_parity(manifest),
        _write_files(manifest),
        write_usage(manifest),
        "## Limits\n\n" + _bullets(_LIMITS),
        _write_data_statement(manifest),
    ]
    return write_front_matter(manifest) + "\n" + "\n\n".join(parts) + "\n"


def _write_opening(manifest: Manifest) -> str:
    facts = manifest.facts
    what = _KINDS[kind_of(manifest)].format(base=_plain(name_base(manifest)))
    rows = [
        ("registered", f"{manifest.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("run", text(facts, "run_id")),
        ("base model", name_base(manifest)),
        ("base revision", text(facts, "base_revision")),
        ("base digest", text(facts, "base_digest")),
        ("license of the base", text(facts, "base_license") or "not stated by the base"),
        ("goes on from", text(facts, "started_from")),
        ("data set digest", text(facts, "dataset_digest")),
        ("recipe digest", text(facts, "recipe_digest")),
        ("git commit", text(facts, "git_commit")),
        ("flytewheel", text(facts, "code_version")),
        ("seed", text(facts, "seed")),
        ("device", text(facts, "device")),
    ]
    table = _table(("", ""), [row for row in rows if row[1]])
    return f"This is {what}. flytewheel made, judged, signed and registered it.\n\n{table}"


def _write_training(manifest: Manifest) -> Iterator[str]:
    trainings = section(manifest.facts, "training")
    if trainings:
        head = ("station", "method", "rows", "steps", "first loss", "last loss", "held-out loss", "device")
        names = ("method", "rows", "steps", "first_loss", "last_loss", "eval_loss", "device")
        rows = [(station, *(_cell(section(trainings, station), name) for name in names)) for station in trainings]
        yield f"## Training\n\n{_table(head, rows)}"
    packages = section(manifest.facts, "packages")
    if packages:
        yield "Packages: " + ", ".join(f"{name} {version}" for name, version in sorted(packages.items())) + "."


def _write_evaluation(manifest: Manifest) -> Iterator[str]:
    figures = list_figures(manifest.facts)
    if not figures:
        return
    against = text(manifest.facts, "judged_against") or "base"
    rows = [
        (
            figure.name,
            _span(figure.value, figure.low, figure.high),
            _span(figure.champion, figure.champion_low, figure.champion_high),
            _span(figure.difference, figure.difference_low, figure.difference_high),
            "" if figure.rows is None else f"{figure.rows:,}",
            "" if figure.users is None else f"{figure.users:,}",
        )
        for figure in figures
    ]
    champion = "the bare base" if against == "base" else f"the champion {against}"
    head = ("figure", "this version", champion, "difference", "rows", "users")
    levels = sorted({figure.level for figure in figures if figure.level is not None})
    note = f" In brackets: intervals at {', '.join(f'{100 * level:.4g} %' for level in levels)}." if levels else ""
    yield f"## Evaluation\n\nOn held-out users, against {champion}.{note}\n\n{_table(head, rows)}"


def _write_verdict(manifest: Manifest) -> Iterator[str]:
    verdict = text(manifest.facts, "verdict")
    if not verdict:
        return
    own = text(manifest.facts, "gate_verdict")
    overruled = f" A person overruled the gate, which had said `{own}`." if own and own != verdict else ""
    reasons = manifest.facts.get("reasons")
    listed = _bullets(str(reason) for reason in reasons) if isinstance(reasons, Sequence) else ""
    yield f"## Verdict of the gate\n\n`{verdict}`.{overruled}\n\n{listed}".rstrip()


def _write_parity(manifest: Manifest) -> Iterator[str]:
    figures = list_parity(manifest.facts)
    if figures:
        yield (
            "## Parity\n\nThe GGUF files against the trained weights, through llama.cpp; a file that fails is not "
            f"registered.\n\n{_table(('figure', 'value'), figures)}"
        )


def _write_files(manifest: Manifest) -> str:
    rows = [(path, f"{file.size:,}", f"`{file.sha256}`") for path, file in sorted(manifest.files.items())]
    return f"## Files\n\n{_table(('file', 'bytes', 'SHA-256'), rows)}"


def _write_data_statement(manifest: Manifest) -> str:
    dataset = section(manifest.facts, "dataset")
    lines = ["## Data\n\nThis card, and every file beside it but the weights, holds no text of any user."]
    if not dataset:
        return lines[0]
    counts, users = section(dataset, "counts"), section(dataset, "users")
    kinds = [
        f"{kind}: " + ", ".join(f"{part} {count:,}" for part, count in sorted(section(counts, kind).items()))
        for kind in sorted(counts)
    ]
    redacted = section(dataset, "redacted")
    rows = [
        ("rows", "; ".join(kinds)),
        ("users by part", ", ".join(f"{part} {count:,}" for part, count in sorted(users.items()))),
        ("personal data replaced", ", ".join(f"{kind} {count:,}" for kind, count in sorted(redacted.items()))),
        ("license", text(dataset, "license")),
    ]
    lines.append(
        "It was trained on reactions of users of the operator's own service, curated by flytewheel: what was found of "
        "personal data was replaced, and users of the test part were never trained on. The data set is named by its "
        "digest and is not published."
    )
    return "\n\n".join([*lines, _table(("", ""), [row for row in rows if row[1]])])


def _cell(found: dict[str, object], name: str) -> str:
    value = found.get(name)
    if isinstance(value, float):
        return spell(value)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _span(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return spell(value) if low is None or high is None else f"{spell(value)} [{spell(low)}, {spell(high)}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _plain(cell: str) -> str:
    """One line that neither ends a table's cell nor opens a tag."""
    return " ".join(str(cell).split()).replace("|", "\\|").replace("<", "&lt;")
