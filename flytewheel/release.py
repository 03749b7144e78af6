"""From a judged candidate to a canary: what the export, register and launch tasks call."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from flytewheel import lineage, models, overrides, runs
from flytewheel.errors import RegistryError
from flytewheel.evaluation import speed
from flytewheel.experiment import launch
from flytewheel.experiment.drafts import draft_experiment
from flytewheel.experiment.planning.desk import foretell
from flytewheel.export.export import ADAPTER, FOLDERS, export_model
from flytewheel.licenses import read_license
from flytewheel.local.services import Services
from flytewheel.provenance import describe_version
from flytewheel.recipe import AbTestingSpec, AutomationSpec, BaseModelSpec, ExportSpec
from flytewheel.records import Decision, Message, to_jsonable
from flytewheel.signed_registry import open_registry
from flytewheel.tombstones import taint_late
from flytewheel.turn import CODE
from flytewheel.upstreams import UPSTREAM


def fetch_adapter(services: Services, name: str, version: str, folder: Path, *, base: BaseModelSpec) -> Path | None:
    """The champion's LoRA adapter or full weights, from the registry; `None` where the bare base is the champion.

    Raises:
        BaseModelError: `base` cannot be read.
        RegistryError: the version is missing, does not match its digests, or was trained on other weights than `base`.
    """
    if not version:
        return None
    registry = open_registry(services)
    manifest = registry.show(name, version)
    if UPSTREAM in manifest.files:
        raise RegistryError(
            f"{name} {version} is served elsewhere and has no weights here to go on from or to compare with: make one"
            " of your own versions the champion, or give the recipe another name"
        )
    kept = next(
        (name for name in FOLDERS.values() if any(path.startswith(f"{name}/") for path in manifest.files)), None
    )
    if kept is None:
        return None
    files = [path for path in manifest.files if path.startswith(f"{kept}/")]
    trained_on, found = manifest.facts.get("base_digest"), models.base_digest(base)
    if trained_on not in (None, found):
        raise RegistryError(
            f"{name} {version} was trained on {base.model} {trained_on[:12]}, base.model is {found[:12]} now: "
            "bring those weights back, or give the recipe another name"
        )
    registry.download(name, version, folder, only=files)
    return folder / kept


def export_versions(
    out: Path,
    *,
    conversations: Sequence[tuple[Message, ...]],
    candidate: Path,
    with_base: bool,
    base: BaseModelSpec,
    export: ExportSpec,
    seed: int,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Exports the candidate into `out/candidate`, and the bare base into `out/base` when no champion exists yet.

    The base comes first: the candidate's adapter is tried on its file.

    Returns:
        The station's report: files, parity, and which file is to be served.

    Raises:
        ExportError: a file does not behave as the trained weights.
    """
    served = f"model-{export.serve}.gguf"
    common: dict[str, Any] = {
        "base": base, "export": export, "prompts": conversations, "seed": seed, "progress": progress,
    }  # fmt: skip
    base_report = export_model(out / "base", adapter=None, **common) if with_base else None
    base_file = out / "base" / served if with_base else None
    report = export_model(out / "candidate", adapter=candidate, base_file=base_file, **common)
    facts: dict[str, Any] = {
        "files": to_jsonable(report.files),
        "parity": to_jsonable(report.parity),
        "serve": served,
        "notes": list(report.notes),
    }
    if report.adapter_file is not None:
        facts["adapter_file"] = {"name": ADAPTER, "base_kind": export.serve, **to_jsonable(report.adapter_file)}
    if base_report is not None:
        facts["base_parity"] = to_jsonable(base_report.parity)
    (out / "versions.json").write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")
    return facts


def compare_speed(
    services: Services,
    run: runs.Run,
    exported: Path,
    *,
    champion: str,
    prompts: Sequence[tuple[Message, ...]],
    folder: Path,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Measures the candidate's file against the champion's, as far as the recipe wants it, and judges both figures.

    Args:
        exported: What `export_versions` wrote.
        champion: Version in service, whose file comes from the registry; empty: the base's export.
        prompts: Held-out ones; the first `evaluation.speed.prompts` are asked.
        folder: Where the champion's file is put.

    Returns:
        `verdict` (decision and reasons), and `metrics`, `ratios` and `skipped` where it was measured.

    Raises:
        LlamaServerError: the candidate's file, or the champion's, is not served.
        RegistryError, StoreError: the champion's file cannot be had.
    """
    spec, found = run.recipe.evaluation.speed, None
    served = f"model-{run.recipe.export.serve}.gguf"
    control = None
    if spec.enable:
        control = _fetch_served(services, run.name, champion, folder) if champion else exported / "base" / served
    if control is not None:
        found = speed.measure_speed(
            exported / "candidate" / served,
            control,
            prompts[: spec.prompts],
            tokens=spec.tokens,
            slot_tokens=run.recipe.base.max_length + spec.tokens,
            threads=max(1, (os.cpu_count() or 2) // 2),  # as the router's backends
            level=run.recipe.evaluation.confidence_level,
            seed=run.recipe.seed,
            progress=progress,
        )
    verdict = speed.decide_speed(found, run.recipe.gate)
    return {"verdict": to_jsonable(verdict), **(to_jsonable(found) if found else {})}


def _fetch_served(services: Services, name: str, version: str, folder: Path) -> Path | None:
    """The file that a version is served from; `None` where its manifest names none."""
    registry = open_registry(services)
    file = registry.show(name, version).facts.get("serve")
    if not file:
        return None
    registry.download(name, version, folder, only=[file])
    return folder / str(file)


def register_versions(
    services: Services,
    run: runs.Run,
    exported: Path,
    *,
    champion: str,
    now: datetime,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> tuple[str, str]:
    """Registers the candidate, and the bare base as iteration 0 and champion where there is none yet.

    Returns:
        The candidate's version, and the version that it is to be compared with.

    Raises:
        GateError: a person holds the candidate.
        RegistryError, StoreError: nothing is visible unless the version was written as a whole.
    """
    overrides.check_released(services.database_url, run.run_id)
    registry = open_registry(services)
    reports = runs.read_reports(services.database_url, run.run_id)
    base_digest = models.base_digest(run.recipe.base)
    stated = read_license(models.find_folder(run.recipe.base))
    known: dict[str, Any] = {"run_id": run.run_id, "code": CODE, "base_digest": base_digest, "base_license": stated}
    control = champion
    if not control:
        base = registry.register(
            run.name,
            list_files(exported / "base"),
            facts=lineage.describe_base(run.recipe, reports, **known),
            key=f"base:{run.recipe.base.model}:{base_digest}",
            now=now,
            base_version=True,
            describe=describe_version,
            progress=progress,
        )
        control = base.version
        if registry.get_alias(run.name, "champion") is None:
            registry.set_alias(run.name, "champion", control)
    facts = lineage.describe_candidate(run.recipe, reports, champion=champion, **known)
    files = list_files(exported / "candidate")
    manifest = registry.register(
        run.name, files, facts=facts, key=run.run_id, now=now, describe=describe_version, progress=progress
    )
    if (tainted := taint_late(registry.store, manifest)) is not None:
        print(f"warning: {tainted}: a person was erased while it was trained; train from the base again", flush=True)
    registry.set_alias(run.name, "challenger", manifest.version)
    return manifest.version, control


def launch_canary(
    services: Services,
    run: runs.Run,
    *,
    version: str,
    control: str,
    ab_testing: AbTestingSpec,
    automation: AutomationSpec,
) -> dict[str, Any]:
    """Opens the experiment at the router, once for each run; with `automation.auto_experiment` off it only says how to.

    Where the exported file is slower than the gate allows, it opens none and says so.

    Raises:
        RouterError: the router is away, or could not load both versions.
    """
    if not automation.auto_experiment:
        return {"skipped": f"automation.auto_experiment is off: {version} waits in the registry", "experiment_id": ""}
    reports = runs.read_reports(services.database_url, run.run_id)
    slow = reports.get("export_gguf", {}).get("speed", {}).get("verdict", {})
    if slow.get("decision", Decision.PROMOTE_TO_CANARY) != Decision.PROMOTE_TO_CANARY:
        reasons = "; ".join(reason for reason in slow["reasons"] if not reason.startswith("for: "))
        return {"skipped": f"{version} is registered and gets no canary: {reasons}", "experiment_id": ""}
    override = reports.get("gate", {}).get("override")
    told = foretell(services.database_url, run.name, ab_testing)
    for line in told:
        print(f"plan: {line}", flush=True)
    wanted = {
        "name": run.name,
        "control": control,
        "treatment": version,
        "share": ab_testing.initial_traffic_split,
        "launch_key": run.run_id,
        "body": to_jsonable(ab_testing) | ({"override": override} if override else {}),
    }
    if ab_testing.shadow.share > 0:
        return _launch_shadow(services, ab_testing, wanted) | {"plan": told}
    launched = launch.launch_canary(services.router_url, services.admin_key, **wanted)
    return {
        "experiment_id": launched.experiment_id,
        "created": launched.created,
        "control": control,
        "treatment": version,
        "share": ab_testing.initial_traffic_split,
        "router": services.router_url,
        "plan": told,
    }


def _launch_shadow(services: Services, ab_testing: AbTestingSpec, wanted: dict[str, Any]) -> dict[str, Any]:
    """Writes the canary down as a draft, which a later look opens, and shows the candidate copies until then."""
    drafted = draft_experiment(services.database_url, **wanted)
    shadow = ab_testing.shadow
    launch.open_shadow(
        services.router_url,
        services.admin_key,
        name=wanted["name"],
        candidate=wanted["treatment"],
        launch_key=wanted["launch_key"],
        shadow=to_jsonable(shadow),
    )
    return {
        "experiment_id": drafted.experiment.experiment_id,
        "created": drafted.created,
        "control": wanted["control"],
        "treatment": wanted["treatment"],
        "share": wanted["share"],
        "shadow": f"{shadow.share:.0%} of the requests are copied for {shadow.hours:g} h, then the canary opens",
        "router": services.router_url,
    }


def list_files(folder: Path) -> dict[str, Path]:
    """Every file of an export by its relative name."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
