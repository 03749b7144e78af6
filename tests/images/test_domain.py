"""A domain's file is read strictly; images are built of what it says, and hold what their tasks import."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from flytewheel.errors import SettingsError
from images import SPECS, core, trainer
from images.__main__ import main
from images.domain import FOLDER, Domain, name_domain, read_domain
from tasks.pods import make_pod

DOMAINS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_is_whole_and_its_recipe_is_there(name: str) -> None:
    domain = read_domain(name)
    assert (FOLDER.parent.parent / domain.recipe).is_file()
    pod = make_pod(domain, name, large=True)
    (container,) = pod.pod_spec.containers
    assert {each.name: each.value for each in container.env}["FLYTEWHEEL_DOMAIN"] == name
    assert [each.key for each in pod.pod_spec.tolerations] == [each.key for each in domain.tolerations]
    assert pod.pod_spec.volumes[0].empty_dir.size_limit == domain.shared_memory
    assert not make_pod(domain, name, large=False).pod_spec.volumes


def test_the_three_domains_of_flyte_are_there_and_training_is_what_was_asked_for() -> None:
    assert DOMAINS == ["development", "production", "staging"]
    production = read_domain("production")
    assert production.large.model_dump() == {"cpu": "8", "mem": "64Gi", "gpu": "1"}
    assert (production.long_hours, production.schedules) == (12, True)
    assert not read_domain("development").schedules
    assert name_domain({}) == name_domain({"FLYTEWHEEL_DOMAIN": ""}) == "development"
    assert name_domain({"FLYTEWHEEL_DOMAIN": "staging"}) == "staging"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"shcedules": True}, "shcedules: unknown key"),
        ({"large": {"cpu": "8", "mem": "64 GB", "gpu": "1"}}, "large.mem: String should match pattern"),
        ({"schedules": "yes"}, "schedules: Input should be a valid boolean, got 'yes'"),
        ({"run_as_user": 0}, "run_as_user: Input should be greater than or equal to 1, got 0"),
    ],
    ids=["misspelt", "quantity", "no boolean", "root"],
)
def test_a_file_with_a_fault_is_refused_and_each_is_said(change: dict[str, object], fault: str, tmp_path: Path) -> None:
    tree = yaml.safe_load((FOLDER / "staging.yaml").read_text(encoding="utf-8"))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**tree, **change}), encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(fault)):
        read_domain("mine", tmp_path)


def test_every_key_is_required(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("schedules: true\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        read_domain("mine", tmp_path)
    assert str(refused.value).count("required, but missing") == len(Domain.model_fields) - 1


@pytest.mark.parametrize("name", ["nowhere", "../domains/staging", ""])
def test_a_domain_without_a_file_is_refused_with_those_that_are_there(name: str) -> None:
    with pytest.raises(SettingsError, match="expected one of development, production, staging"):
        read_domain(name)


@pytest.mark.parametrize("content", ["{", "- 1", "\x00"])
def test_a_file_that_is_no_mapping_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"images/domains/mine\.yaml") as refused:
        read_domain("mine", tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("core", "debian:bookworm-slim"),
        ("trainer", read_domain("development").cuda_image),
        ("service", "debian:bookworm-slim"),
    ],
    ids=["core", "trainer", "service"],
)
def test_an_image_is_built_of_pinned_packages_and_is_not_root(
    name: str, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER.parent.parent)
    done = CliRunner().invoke(main, [name, "--dockerfile", str(tmp_path)])
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert f"FROM {base}" in lines
    assert [line for line in lines if line.startswith("USER")][-1] == "USER flytekit"
    assert ('ENTRYPOINT ["python", "-m", "router"]' in lines) is (name == "service")
    pins = (tmp_path / "requirements_uv.txt").read_text(encoding="utf-8").split()
    assert pins
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^=]+", pin) for pin in pins)
    assert any(pin.startswith("torch==") for pin in pins) is (name == "trainer")


def test_images_hold_what_the_tasks_import() -> None:
    """What importing the workflows loads belongs to a distribution of the core image, or to one that those need."""
    import workflows.launch_plans  # noqa: F401

    held: set[str] = set()
    waiting = [pin.partition("==")[0] for pin in core.packages]
    while waiting:
        name = _normal(waiting.pop())
        if name in held:
            continue
        held.add(name)
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:  # for another system
            continue
        waiting += [re.split(r"[\s;<>=!~\[(]", need, maxsplit=1)[0] for need in needs if "extra ==" not in need]
    ours = packages_distributions()
    missing = {
        module
        for module in {name.partition(".")[0] for name in list(sys.modules)}
        if module in {"scipy", "numpy", "regex", "pydantic", "psycopg", "msgspec", "orjson", "minio", "httpx"}
        and not {_normal(each) for each in ours.get(module, [])} & held
    }
    assert missing == set(), f"images/__init__.py: CORE lacks {sorted(missing)}"
    assert {"torch", "trl", "peft"} <= {_normal(pin.partition("==")[0]) for pin in trainer.packages}
    assert set(SPECS) == {"core", "trainer", "service"}


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
