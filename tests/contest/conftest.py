"""The tiny models of tests/evaluation, a registry that holds versions of them, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flytewheel.cli import main
from flytewheel.dataset import Dataset, digest_content, part_file, write_card, write_rows
from flytewheel.local.services import Services
from flytewheel.models import base_digest
from flytewheel.recipe import BaseModelSpec, Recipe
from flytewheel.records import SftRow, to_jsonable
from flytewheel.signed_registry import open_registry
from flytewheel.signing_keys import ensure_home_key
from flytewheel.turn import publish_dataset
from registry.store import ObjectStore
from registry.versions import Registry
from tests.evaluation.conftest import (  # noqa: F401 - fixtures
    adapter,
    base,
    base_folder,
    build_adapter,
    build_full,
    other_adapter,
    write_dataset,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
A, B = "aa" + "1" * 62, "bb" + "2" * 62


@dataclass(frozen=True)
class Place:
    """A home with its services, a recipe of the tiny base, and the command line."""

    services: Services
    recipe: Recipe
    file: Path

    @property
    def registry(self) -> Registry:
        return open_registry(self.services)

    def call(self, *arguments: str | Path, away: bool = False) -> Result:
        """`flytewheel eval …`; `away`: with services that nobody could reach."""
        here = self.services
        nowhere = {"FLYTEWHEEL_S3_URL": "http://127.0.0.1:9", "FLYTEWHEEL_DATABASE_URL": "postgresql://127.0.0.1:9/x"}
        environ = {
            "FLYTEWHEEL_HOME": str(here.home), "FLYTEWHEEL_DATABASE_URL": here.database_url,
            "FLYTEWHEEL_S3_URL": here.s3_url, "FLYTEWHEEL_S3_ACCESS_KEY": here.s3_access_key,
            "FLYTEWHEEL_S3_SECRET_KEY": here.s3_secret_key, "FLYTEWHEEL_S3_BUCKET": here.s3_bucket,
            **(nowhere if away else {}),
        }  # fmt: skip
        return CliRunner(env=environ).invoke(main, ["eval", *map(str, arguments)])

    def register(self, folder: Path | None, *, key: str, dataset: str = "", **facts: Any) -> str:
        """Registers an adapter or full weights of the tiny base (or the bare base) as a version of `oncall`."""
        kind = "base" if folder is None else "candidate"
        files = {"recipe.json": self.file}
        if folder is not None:
            inside = "adapter" if (folder / "adapter_config.json").is_file() else "weights"
            files |= {f"{inside}/{path.name}": path for path in folder.iterdir() if path.is_file()}
        known = {
            "kind": kind, "base_model": self.recipe.base.model, "base_digest": base_digest(self.recipe.base),
            "dataset_digest": dataset, "recipe": to_jsonable(self.recipe) if folder is not None else None,
        }  # fmt: skip
        known = {name: value for name, value in {**known, **facts}.items() if value is not None}
        return self.registry.register(
            "oncall", files, facts=known, key=key, now=NOW, base_version=folder is None
        ).version


@pytest.fixture
def place(
    database_url: str,
    store: ObjectStore,
    services: Any,
    tmp_path: Path,
    base: BaseModelSpec,  # noqa: F811
) -> Place:
    here = Services(
        home=tmp_path / "home", database_url=database_url, s3_url=services.s3_url,
        s3_access_key=services.s3_access_key, s3_secret_key=services.s3_secret_key, s3_region=None,
        s3_bucket=store.bucket, router_url="", admin_key="", assignment_key="",
    )  # fmt: skip
    ensure_home_key(here.key_ring)
    recipe = Recipe.model_validate(
        {
            "name": "oncall", "base": base, "seed": 7,
            "evaluation": {"max_examples": 6, "max_new_tokens": 8, "bootstrap_samples": 200},
        }
    )  # fmt: skip
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(to_jsonable(recipe)), encoding="utf-8")
    return Place(here, recipe, file)


@pytest.fixture
def publish(place: Place, write_dataset: Callable[..., Path]) -> Callable[..., Path]:  # noqa: F811
    """Writes a data set under a digest, and puts it into the store."""

    def write(digest: str, *, trained: Sequence[SftRow] = (), **options: Any) -> Path:
        folder = write_dataset(name=digest, **options)
        write_rows(part_file(folder, "sft", "train"), "sft", trained)
        card = replace(Dataset(folder).card, digest=digest, content_digest=digest_content(folder), sources=("oncall",))
        write_card(folder, card)
        publish_dataset(place.services, folder, card)
        return folder

    return write
