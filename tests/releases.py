"""A judged run and its export, ready to be registered, over real services."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from flytewheel import release, runs
from flytewheel.local.services import Services
from flytewheel.recipe import Recipe
from flytewheel.signing_keys import ensure_home_key
from tests.router.spelling_model import write_spelling_model

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WORDS = {"base": "base", "candidate": "candy"}
LORA = save({"lora": np.zeros(1, dtype=np.float32)})
REPORTS: dict[str, dict[str, Any]] = {
    "curate": {"digest": "d"},
    "gate": {"decision": "promote_to_canary", "reasons": ["for: better"], "metrics": {"perplexity": 1.1}},
    "export_gguf": {"parity": {"Q8_0": "held"}, "base_parity": {"Q8_0": "held"}, "serve": "model-Q8_0.gguf"},
}


def place_services(database_url: str, bucket: str, services: Any, home: Path) -> Services:
    """The session's services with a bucket of their own, and a home with a signing key."""
    found = Services(
        home=home,
        database_url=database_url,
        s3_url=services.s3_url,
        s3_access_key=services.s3_access_key,
        s3_secret_key=services.s3_secret_key,
        s3_region=None,
        s3_bucket=bucket,
        router_url="http://127.0.0.1:9",
        admin_key="k",
        assignment_key="k",
    )
    ensure_home_key(found.key_ring)
    return found


def write_export(folder: Path) -> Path:
    """An export of a base and a candidate that spell a word each, with an adapter."""
    for side, word in WORDS.items():
        (folder / side).mkdir(parents=True)
        write_spelling_model(folder / side / "model-Q8_0.gguf", word)
    adapter = folder / "candidate" / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(LORA)
    return folder


def judge_run(
    here: Services, name: str = "oncall", seed: int = 7, reports: Mapping[str, dict[str, Any]] = REPORTS
) -> runs.Run:
    """A run whose stations left these reports."""
    recipe = Recipe.model_validate({"name": name, "seed": seed, "base": {"model": "pocket"}})
    run = runs.open_run(here.database_url, recipe, {}, now=NOW, execution="e")
    for station, report in reports.items():
        with runs.run_station(here.database_url, here.home, run.run_id, station) as open_station:
            open_station.report = report
    return run


def register(here: Services, run: runs.Run, exported: Path, champion: str = "") -> tuple[str, str]:
    """Registers what the run made."""
    return release.register_versions(here, run, exported, champion=champion, now=NOW)
