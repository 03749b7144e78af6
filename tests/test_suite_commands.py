"""`flytewheel suite …` on real services and a real model; wrong inputs are one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from flytewheel import runs
from flytewheel.cli import main
from flytewheel.local.services import Services
from flytewheel.models import base_digest
from flytewheel.recipe import BaseModelSpec, Recipe
from flytewheel.records import Message, RegressionCase, write_jsonl
from flytewheel.signed_registry import open_registry
from flytewheel.signing_keys import ensure_home_key
from flytewheel.suite.store import list_kept
from registry.store import ObjectStore
from tests.tiny_model import build_tiny_model

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"  # PEFT 0.21 asks transformers 5.23 by the old name
)
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
Call = Callable[..., Result]


@pytest.fixture
def here(database_url: str, store: ObjectStore, services: Any, tmp_path: Path) -> Services:
    found = Services(
        home=tmp_path / "home", database_url=database_url, s3_url=services.s3_url,
        s3_access_key=services.s3_access_key, s3_secret_key=services.s3_secret_key, s3_region=None,
        s3_bucket=store.bucket, router_url="", admin_key="", assignment_key="",
    )  # fmt: skip
    ensure_home_key(found.key_ring)
    return found


@pytest.fixture
def call(here: Services) -> Call:
    environ = {
        "FLYTEWHEEL_HOME": str(here.home),
        "FLYTEWHEEL_DATABASE_URL": here.database_url,
        "FLYTEWHEEL_S3_URL": here.s3_url,
        "FLYTEWHEEL_S3_ACCESS_KEY": here.s3_access_key,
        "FLYTEWHEEL_S3_SECRET_KEY": here.s3_secret_key,
        "FLYTEWHEEL_S3_BUCKET": here.s3_bucket,
    }
    return lambda *arguments: CliRunner(env=environ).invoke(main, ["suite", *map(str, arguments)])


def offline(*arguments: str | Path) -> Result:
    """A command that must need no service: their addresses lead nowhere."""
    nowhere = {"FLYTEWHEEL_S3_URL": "http://127.0.0.1:9", "FLYTEWHEEL_DATABASE_URL": "postgresql://127.0.0.1:9/x"}
    return CliRunner(env=nowhere).invoke(main, ["suite", *map(str, arguments)])


def told(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def one_line(result: Result) -> str:
    assert result.exit_code == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def case(name: str, **fields: Any) -> RegressionCase:
    given = {"check": "contains", "expected": "x", **fields}
    return RegressionCase(name, "suite", "disk", (Message(role="user", content="how?"),), **given)


ADD = ("add", "demo", "--prompt", "What is 6 times 7?", "--check", "numeric", "--expected", "42")


def test_a_case_from_options_is_listed(call: Call, here: Services) -> None:
    added = told(call(*ADD, "--id", "six", "--samples", 5, "--temperature", 0.7, "--context", "Sums.", "--json"))
    assert added == {"added": ["six"], "redacted": [], "left_out": []}
    [kept] = list_kept(here.database_url, "demo")
    assert (kept.case.samples, kept.case.min_pass_rate, kept.case.origin) == (5, 0.8, "written")
    assert [turn.role for turn in kept.case.prompt] == ["system", "user"]
    [line] = told(call("list", "demo", "--json"))
    assert (line["id"], line["state"], line["last"], line["case"]["expected"]) == ("six", "counts", None, "42")
    shown = call("list", "demo").stdout.splitlines()
    assert shown[0].split()[:3] == ["case", "origin", "check"]
    assert shown[1].split()[:4] == ["six", "written", "numeric", "42"]
    assert shown[2] == "1 cases, 1 of them count"
    assert call("list", "nobody").stdout.splitlines()[-1] == "0 cases, 0 of them count"


def test_a_case_without_a_name_is_named_by_what_it_says(call: Call) -> None:
    first = told(call(*ADD, "--json"))["added"]
    again = told(call(*ADD, "--json"))
    assert first[0].startswith("case-")
    assert (again["added"], again["left_out"]) == ([], first)


def test_personal_data_is_replaced_and_said(call: Call, here: Services) -> None:
    result = call(
        "add", "demo", "--id", "p", "--prompt", "Mail ann@example.com", "--check", "contains", "--expected", "x"
    )
    assert "personal data was replaced in p" in result.stdout
    assert "ann@" not in str(list_kept(here.database_url, "demo"))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--prompt", "q", "--check", "regex", "--expected", "("), "is not a regular expression"),
        (("--prompt", "q", "--check", "numeric", "--expected", "many"), "expected one finite number"),
        (("--prompt", "q", "--check", "similarity", "--expected", "x"), "threshold above 0"),
        (("--prompt", "q", "--check", "contains", "--expected", "x", "--samples", "5"), "give a temperature"),
        (("--check", "contains", "--expected", "x"), "a case needs --prompt, --check and --expected"),
        (("--prompt", "q", "--expected", "x"), "a case needs --prompt"),
        (("--file", "none.jsonl"), "none.jsonl: cannot be read"),
        (("--file", "none.jsonl", "--prompt", "q"), "either the file or the options"),
    ],
)
def test_faults_are_told_before_any_service_is_asked(arguments: tuple[str, ...], match: str) -> None:
    assert match in one_line(offline("add", "demo", *arguments))


def test_a_file_is_taken_whole_or_not_at_all(call: Call, here: Services, tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    write_jsonl(file, [case("a"), case("b"), case("a")])
    lines = file.read_text().splitlines()
    bad = [json.loads(lines[0]) | change for change in ({"tolerence": 1}, {"check": "like"}, {"samples": 0, "id": "z"})]
    file.write_text("\n".join([*lines, *map(json.dumps, bad), "{", "[]"]))
    line = one_line(call("add", "demo", "--file", file))
    for said in (
        "cases.jsonl:3: id 'a' is used twice",
        "cases.jsonl:4: not a regression case (unknown field 'tolerence'",
        "cases.jsonl:5: not a regression case (check:",
        "cases.jsonl:6: regression case 'z': expected 1 to 100 samples, got 0",
        "cases.jsonl:7: not a regression case (line:",
        "cases.jsonl:8: not a regression case (expected an object)",
    ):
        assert said in line
    assert list_kept(here.database_url, "demo") == []
    write_jsonl(file, [case("a"), case("b")])
    assert told(call("add", "demo", "--file", file, "--json"))["added"] == ["a", "b"]
    write_jsonl(file, [case("c"), replace(case("a"), expected="y")])
    assert "'a' of demo is there and says something else" in one_line(call("add", "demo", "--file", file))
    assert len(list_kept(here.database_url, "demo")) == 2


def test_mute_unmute_and_retire(call: Call) -> None:
    told(call(*ADD, "--id", "six", "--json"))
    muted = told(call("mute", "demo", "six", "--reason", "flaky", "--until", "7d", "--by", "ada", "--json"))
    assert (muted["reason"], muted["muted_by"]) == ("flaky", "ada")
    [line] = told(call("list", "demo", "--json"))
    assert (line["state"], line["mute"]["expired"]) == ("muted", False)
    assert "by ada: flaky" in call("list", "demo").stdout
    assert told(call("unmute", "demo", "six", "--json")) == {"case": "six", "muted": False}
    assert "is not muted" in one_line(call("unmute", "demo", "six"))
    assert call("retire", "demo", "six", "--reason", "old").stdout == "six is retired\n"
    assert told(call("list", "demo", "--json")) == []
    [line] = told(call("list", "demo", "--all", "--json"))
    assert (line["state"], line["retired"]["reason"]) == ("retired", "old")
    assert "retired already" in one_line(call("remove", "demo", "six", "--reason", "old"))
    assert "no case 'six'" in one_line(call("mute", "demo", "six", "--reason", "r", "--until", "7d"))


def test_a_mute_needs_a_reason_and_an_end(call: Call) -> None:
    for left_out in (("--reason", "r"), ("--until", "7d")):
        assert call("mute", "demo", "six", *left_out).exit_code == 2
    for until, match in (("91d", "90 days at most"), ("soon", "expected a date"), ("2020-01-01", "is over")):
        assert match in one_line(offline("mute", "demo", "six", "--reason", "r", "--until", until))


# -------------------------------------------------------------------------------------------------- asking a model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("base"), spread=0.15)


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model

    from flytewheel import models

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        adapted = get_peft_model(models.load_model(BaseModelSpec(model=str(base)), dtype="float32"), config)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
    folder = tmp_path_factory.mktemp("adapter")
    adapted.save_pretrained(str(folder))
    return folder


@pytest.fixture
def recipe(base: Path, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    tree = {
        "name": "demo",
        "base": {"model": str(base), "max_length": 256},
        "evaluation": {"max_new_tokens": 8},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def cases() -> list[RegressionCase]:
    return [
        case("always", check="forbidden", expected="never said by anybody"),
        case("drawn", check="forbidden", expected="nor this", samples=4, temperature=1.0, min_pass_rate=0.8),
        case("never", check="exact", expected="what it does not say"),
    ]


def test_a_folder_answers(call: Call, here: Services, adapter: Path, recipe: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "cases.jsonl", cases())
    told(call("add", "demo", "--file", tmp_path / "cases.jsonl", "--json"))
    ran = told(call("run", "demo", adapter, "--recipe", recipe, "--json"), code=1)
    found = {one["id"]: one for one in ran["cases"]}
    assert {name: one["outcome"] for name, one in found.items()} == {
        "always": "passes", "drawn": "passes", "never": "fails"
    }  # fmt: skip
    assert ran["failed"] == 1
    assert (found["drawn"]["passed"], found["drawn"]["samples"], len(found["drawn"]["said"])) == (4, 4, 4)
    assert len(set(found["drawn"]["said"])) > 1, "each is drawn anew"
    shown = call("run", "demo", adapter, "--recipe", recipe)
    assert shown.exit_code == 1
    assert shown.stdout.splitlines()[-1] == f"{adapter}: 1 of 3 cases fail"
    assert call("run", "demo", adapter, "--recipe", recipe, "--case", "always").exit_code == 0
    more = told(call("run", "demo", adapter, "--recipe", recipe, "--case", "drawn", "--samples", 7, "--json"))
    assert more["cases"][0]["samples"] == 7
    hot = told(call("run", "demo", adapter, "--recipe", recipe, "--temperature", 1.0, "--json"), code=1)
    assert [one["samples"] for one in hot["cases"]] == [2, 4, 2]

    told(call("mute", "demo", "never", "--reason", "known", "--until", "7d", "--json"))
    muted = told(call("run", "demo", adapter, "--recipe", recipe, "--json"))
    assert muted["failed"] == 0
    assert muted["cases"][2]["muted"].startswith("known (until")
    assert all(line["last"] is None for line in told(call("list", "demo", "--json"))), "a folder is no version"


def test_a_version_answers_with_the_recipe_of_its_run(
    call: Call, here: Services, adapter: Path, recipe: Path, tmp_path: Path
) -> None:
    tree = yaml.safe_load(recipe.read_text())
    write_jsonl(tmp_path / "own.jsonl", [case("own", check="forbidden", expected="never said by anybody")])
    tree["curation"] = {"regression_cases": str(tmp_path / "own.jsonl")}
    run = runs.open_run(here.database_url, Recipe.model_validate(tree), {}, now=NOW, execution="e")
    registry = open_registry(here)
    files = {f"adapter/{path.name}": path for path in adapter.iterdir() if path.is_file()}
    facts = {"run_id": run.run_id, "base_digest": base_digest(run.recipe.base), "kind": "candidate"}
    version = registry.register("demo", files, facts=facts, key=run.run_id, now=NOW).version
    registry.set_alias("demo", "challenger", version)
    write_jsonl(tmp_path / "cases.jsonl", cases())
    told(call("add", "demo", "--file", tmp_path / "cases.jsonl", "--json"))
    by_alias = told(call("run", "demo", "challenger", "--json"), code=1)
    assert by_alias["model"] == f"demo {version}"
    assert [one["id"] for one in by_alias["cases"]] == ["always", "drawn", "never", "own"]
    by_folder = told(call("run", "demo", adapter, "--json"), code=1)
    assert by_folder["cases"] == by_alias["cases"], "the same weights, the same seed"
    last = {line["id"]: line["last"]["outcome"] for line in told(call("list", "demo", "--json"))}
    assert last == {"always": "passes", "drawn": "passes", "never": "fails", "own": "passes"}


def test_what_cannot_be_asked(call: Call, adapter: Path, recipe: Path, tmp_path: Path) -> None:
    assert "no version or alias 'champion'" in one_line(call("run", "demo", "champion"))
    assert "name it with --recipe" in one_line(call("run", "demo", adapter))
    assert "the suite of demo is empty" in one_line(call("run", "demo", adapter, "--recipe", recipe))
    told(call(*ADD, "--id", "six", "--json"))
    missing = one_line(call("run", "demo", adapter, "--recipe", recipe, "--case", "z"))
    assert "no case 'z' in the suite of demo" in missing
    assert "nowhere: no such folder; expected" in one_line(call("run", "demo", tmp_path / "nowhere"))
    assert "no version or alias 'nowhere'" in one_line(call("run", "demo", "nowhere"))
    assert "expected an adapter" in one_line(call("run", "demo", tmp_path, "--recipe", recipe))
