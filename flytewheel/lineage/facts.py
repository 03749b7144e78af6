"""Where a version came from: the facts that its manifest keeps, so that every model answers for its data, recipe and
code.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flytewheel import __version__
from flytewheel.lineage.work import describe_work, plain_reasons
from flytewheel.recipe import Recipe
from flytewheel.records import digest, to_jsonable


def find_commit(folder: Path) -> str:
    """The git commit of the code in `folder`, with `+changes` when files differ from it; the package's version
    without git.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return f"flytewheel {__version__}"


def describe_candidate(
    recipe: Recipe,
    reports: Mapping[str, Mapping[str, Any]],
    *,
    run_id: str,
    code: Path,
    champion: str,
    base_digest: str,
    base_license: str | None = None,
) -> dict[str, Any]:
    """The facts of a trained candidate, from the reports of its run's stations.

    Args:
        recipe: what the run was asked for.
        reports: `runs.read_reports` of the run; `curate`, `gate` and `export_gguf` must have ended. The gate's may hold
            a person's `override` of its own `verdict`. `started_from` is
            the version whose adapter training went on from; empty: it began at the base.
        run_id: the run.
        code: folder of the code that ran.
        champion: version that it was judged against; empty for the bare base.
        base_digest: content of the base model (`models.base_digest`): a name says too little.
        base_license: what the base states (`models.read_license`).
    """
    gate, exported = reports["gate"], reports["export_gguf"]
    return {
        "kind": "candidate",
        "run_id": run_id,
        "base_model": recipe.base.model,
        "base_digest": base_digest,
        "dataset_digest": reports["curate"]["digest"],
        "mode": recipe.mode,
        "started_from": reports.get("open_turn", {}).get("started_from", ""),
        "recipe": to_jsonable(recipe),
        "recipe_digest": digest(recipe),
        "seed": recipe.seed,
        "candidate": gate.get("candidate", ""),
        **_describe_code(code),
        **_describe_base_model(recipe, base_license),
        **describe_work(reports),
        "judged_against": champion or "base",
        "metrics": gate["metrics"],
        "verdict": gate["decision"],
        "gate_verdict": gate.get("verdict", gate["decision"]),
        "override": gate.get("override"),
        "reasons": plain_reasons(gate["reasons"]),
        "parity": exported["parity"],
        "serve": exported["serve"],
        "adapter_file": exported.get("adapter_file"),
        "speed": exported.get("speed"),
    }


def describe_base(
    recipe: Recipe,
    reports: Mapping[str, Mapping[str, Any]],
    *,
    run_id: str,
    code: Path,
    base_digest: str,
    base_license: str | None = None,
) -> dict[str, Any]:
    """The facts of the untouched base model, registered as iteration 0 so that the first canary has a control."""
    work = describe_work(reports)
    return {
        "kind": "base",
        "run_id": run_id,
        "base_model": recipe.base.model,
        "base_digest": base_digest,
        "seed": recipe.seed,
        **_describe_code(code),
        **_describe_base_model(recipe, base_license),
        **{name: work[name] for name in ("export", "packages", "device") if name in work},
        "parity": reports["export_gguf"]["base_parity"],
        "serve": reports["export_gguf"]["serve"],
    }


def _describe_code(code: Path) -> dict[str, Any]:
    return {"git_commit": find_commit(code), "code_version": __version__}


def _describe_base_model(recipe: Recipe, license_: str | None) -> dict[str, Any]:
    return {"base_revision": recipe.base.revision, "base_license": license_, "languages": recipe.curation.languages}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
