"""`flytewheel eval A B` on versions in a real registry, on folders, and on the bare base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from flytewheel import runs
from flytewheel.evaluation.evaluate import evaluate, read_evaluation
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import SftRow, to_jsonable
from flytewheel.suite.mutes import mute_case
from flytewheel.suite.store import note_outcomes
from tests.contest.conftest import (  # noqa: F401 - fixtures
    NOW,
    A,
    B,
    Place,
    adapter,
    base,
    base_folder,
    build_adapter,
    build_full,
    other_adapter,
    place,
    publish,
    write_dataset,
)
from tests.evaluation.conftest import ask
from tests.run_reports import trained
from tests.tiny_model import build_tiny_model

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"  # PEFT 0.21 asks transformers 5.23 by the old name
)
# ruff: noqa: F811 - fixtures are imported, and named again as arguments


def one_line(result: Result, code: int = 1) -> str:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert "Traceback" not in result.stderr
    return line


def test_two_versions_are_judged_on_the_data_set_of_the_first(
    place: Place, publish: Callable[..., Path], adapter: Path, other_adapter: Path, tmp_path: Path
) -> None:
    """Figures, verdict and page are those of an evaluation by hand; a second call takes them from the folder."""
    dataset = publish(A)
    publish(B, users=3)
    run = runs.open_run(place.services.database_url, place.recipe, {}, now=NOW, execution="e")
    with runs.run_station(place.services.database_url, place.services.home, run.run_id, "train_sft") as station:
        station.report = trained([(1, 2.0), (2, 1.0)])
    champion = place.register(other_adapter, key="one", dataset=B)
    candidate = place.register(adapter, key="two", dataset=A, run_id=run.run_id)
    place.registry.set_alias("oncall", "champion", champion)

    first = place.call(f"oncall:{candidate}", "oncall:champion", "--json")
    assert first.exit_code == 0, first.stderr
    found = json.loads(first.stdout)
    assert (found["candidate"], found["champion"]) == (f"oncall {candidate}", f"oncall {champion}")
    assert (found["dataset"], found["resumed"]) == (A, False)
    by_hand = evaluate(
        dataset, tmp_path / "hand", candidate=adapter, champion=other_adapter, base=place.recipe.base,
        evaluation=place.recipe.evaluation, seed=7,
    )  # fmt: skip
    assert found["evaluation"] == to_jsonable(by_hand)
    folder = Path(found["folder"])
    assert folder == place.services.home / "evaluations" / found["digest"][:16]
    assert to_jsonable(read_evaluation(folder)) == found["evaluation"]
    assert json.loads((folder / "verdict.json").read_text("utf-8"))["decision"] == found["decision"]
    page = Path(found["report"]).read_text("utf-8")
    for words in (
        f"oncall {candidate} against oncall {champion}",
        run.run_id,
        "training loss",
        A,
        "datasets show aa1111",
    ):
        assert words in page
    for reason in found["reasons"]:
        assert reason.split(";")[0].partition(": ")[2].split(" [")[0] in page

    second = place.call(candidate, "champion", "--name", "oncall")
    assert second.exit_code == 0, second.stderr
    assert "judged before" in second.stdout
    assert "perplexity ↓" in second.stdout
    assert second.stdout.rstrip().endswith(str(folder / "report.html"))
    for reason in found["reasons"]:
        assert reason in second.stdout


def test_folders_need_no_service(
    place: Place, write_dataset: Callable[..., Path], adapter: Path, build_full: Callable[[int], Path], tmp_path: Path
) -> None:
    dataset = write_dataset()
    arguments = ("--recipe", place.file, "--dataset", dataset, "--json")
    found = json.loads(place.call(adapter, "base", *arguments, away=True).stdout)
    assert (found["champion"], found["evaluation"]["champion"]) == ("the bare base", "base")
    full = place.call(build_full(1), adapter, *arguments, "--out", tmp_path / "out", away=True)
    assert full.exit_code == 0, full.stderr
    assert json.loads(full.stdout)["evaluation"]["champion"] == "adapter"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "answers.jsonl", "contest.json", "evaluation.json", "report.html", "verdict.json",
    ]  # fmt: skip


def test_strict_is_for_scripts(place: Place, write_dataset: Callable[..., Path]) -> None:
    """The base against itself is held."""
    arguments = ("base", "base", "--recipe", place.file, "--dataset", write_dataset(), "--out", place.file.parent / "o")
    calm = place.call(*arguments, away=True)
    assert calm.exit_code == 0, calm.stderr
    assert "‖ hold" in calm.stdout
    strict = place.call(*arguments, "--strict", away=True)
    assert strict.exit_code == 1
    assert strict.stdout.splitlines()[-1] == str(place.file.parent / "o" / "report.html")
    changed = json.loads(place.file.read_text("utf-8"))
    changed["gate"] = {name: None for name in changed["gate"]} | {"degenerate_share": {"max": 1.0}}
    place.file.write_text(json.dumps(changed), "utf-8")
    again = place.call(*arguments, "--json", away=True)
    assert json.loads(again.stdout)["resumed"] is True  # the gate is applied anew to the same figures


def test_a_contest_that_was_killed_is_held_again(
    place: Place, write_dataset: Callable[..., Path], adapter: Path
) -> None:
    out = place.file.parent / "out"
    arguments = (adapter, "base", "--recipe", place.file, "--dataset", write_dataset(), "--out", out, "--json")
    first = json.loads(place.call(*arguments, away=True).stdout)
    (out / "evaluation.json").unlink()  # written last
    (out / "answers.jsonl").write_text("torn")
    again = json.loads(place.call(*arguments, away=True).stdout)
    assert again["resumed"] is False
    assert again["evaluation"] == first["evaluation"]


def test_a_folder_that_holds_something_else_is_left_alone(
    place: Place, write_dataset: Callable[..., Path], adapter: Path, other_adapter: Path
) -> None:
    out, dataset = place.file.parent / "out", write_dataset()
    arguments = ("base", "--recipe", place.file, "--dataset", dataset, "--out", out)
    assert place.call(adapter, *arguments, away=True).exit_code == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    line = one_line(place.call(other_adapter, *arguments, away=True))
    assert "holds another evaluation" in line
    assert "--out" in line
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    mine = place.file.parent / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("42")
    taken = place.call(adapter, "base", "--recipe", place.file, "--dataset", dataset, "--out", mine, away=True)
    assert "expected a new or empty folder" in one_line(taken)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


def test_the_registered_base_and_full_weights_are_contestants(
    place: Place, publish: Callable[..., Path], build_full: Callable[[int], Path]
) -> None:
    publish(A)
    bare = place.register(None, key="base")
    full = place.register(build_full(1), key="full", dataset=A)
    found = place.call(f"oncall:{bare}", f"oncall:{full}", "--json")  # recipe and data set are those of the second
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["evaluation"]["champion"] == "full"


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("v1.202647.1", "base", "'v1.202647.1': expected NAME:VERSION (or NAME:champion), a folder, or base"),
        ("oncall:", "base", "'oncall:': expected NAME:VERSION"),
        ("base", "./nothing", "./nothing: no such folder"),
        ("oncall:v1.202601.9", "base", "oncall: no version 'v1.202601.9'; known are v1.202647.1"),
        ("oncall:challenger", "base", "oncall: no version or alias 'challenger'"),
        ("other:champion", "base", "no model 'other'; known are oncall"),
        ("a b:champion", "base", "model name 'a b'"),
    ],
)
def test_names_that_are_none_are_one_line(place: Place, adapter: Path, a: str, b: str, said: str) -> None:
    place.register(adapter, key="k")
    assert said in one_line(place.call(a, b, "--recipe", place.file))


def test_what_is_missing_is_said_before_anything_is_loaded(
    place: Place, adapter: Path, publish: Callable[..., Path], tmp_path: Path
) -> None:
    line = one_line(place.call(adapter, "base", away=True), code=2)
    assert line.endswith("no manifest says by which recipe they are to be judged: name one with --recipe")
    version = place.register(adapter, key="k", dataset="c" * 64)
    line = one_line(place.call(f"oncall:{version}", "base"))
    assert f"oncall {version} was judged on data set cccccccccccc, which cannot be had" in line
    assert "no data set of oncall was curated yet" in one_line(place.call(adapter, "base", "--recipe", place.file))
    (tmp_path / "empty").mkdir()
    line = one_line(place.call(tmp_path / "empty", "base", "--recipe", place.file, away=True))
    assert "expected an adapter" in line
    odd = place.register(adapter, key="odd", dataset="c" * 64, recipe={"name": "oncall", "wheels": 3})
    line = one_line(place.call(f"oncall:{odd}", "base"), code=2)
    assert f"the recipe in the manifest of oncall {odd}" in line
    assert "--recipe" in line
    served = place.register(None, key="served", kind="candidate", recipe=to_jsonable(place.recipe))
    publish(A)
    assert "holds no adapter and no weights" in one_line(place.call(f"oncall:{served}", "base", "--dataset", A))
    assert not (place.services.home / "evaluations").exists()


def test_versions_of_different_bases_are_refused(
    place: Place, adapter: Path, publish: Callable[..., Path], tmp_path: Path
) -> None:
    publish(A)
    other = BaseModelSpec(model=str(build_tiny_model(tmp_path / "other-base", seed=3)))
    from flytewheel.models import base_digest

    ours = place.register(adapter, key="ours", dataset=A)
    theirs = place.register(adapter, key="theirs", dataset=A, base_digest=base_digest(other), base_model="other")
    line = one_line(place.call(f"oncall:{ours}", f"oncall:{theirs}"))
    assert "trained on different bases" in line
    assert f"oncall {theirs} on other {base_digest(other)[:12]}" in line
    line = one_line(place.call(f"oncall:{theirs}", "base"))
    assert f"oncall {theirs} was trained on base {base_digest(other)[:12]}, base.model" in line
    assert not (place.services.home / "evaluations").exists()


def test_a_changed_adapter_is_another_contest(
    place: Place, write_dataset: Callable[..., Path], build_adapter: Callable[[int], Path], tmp_path: Path
) -> None:
    dataset, copy = write_dataset(), tmp_path / "copy"
    shutil.copytree(build_adapter(1), copy)
    arguments = ("base", "--recipe", place.file, "--dataset", dataset, "--json")
    first = json.loads(place.call(copy, *arguments, away=True).stdout)
    same = json.loads(place.call(build_adapter(1), *arguments, away=True).stdout)
    assert (same["digest"], same["resumed"]) == (first["digest"], True)  # the same bytes in another place
    shutil.rmtree(copy)
    shutil.copytree(build_adapter(2), copy)
    other = json.loads(place.call(copy, *arguments, away=True).stdout)
    assert (other["digest"] != first["digest"], other["resumed"]) == (True, False)


def trained_row(user: str, text: str) -> SftRow:
    return SftRow(f"t-{user}", user, "ops", ask(text), "An answer.", 1.0, 1.0, "answer")


def test_rows_that_one_was_trained_on_do_not_judge(
    place: Place, publish: Callable[..., Path], adapter: Path, other_adapter: Path
) -> None:
    """The champion's own data set trains on a test user of the candidate's; and so does one that a version goes on
    from.
    """
    publish(A)
    publish(B, users=2, trained=[trained_row("user-5", "Something else entirely, if you please?")], cases=[])
    ours = place.register(adapter, key="ours", dataset=A)
    theirs = place.register(other_adapter, key="theirs", dataset=B)
    for a, b in ((ours, theirs), (theirs, ours)):
        line = one_line(place.call(a, b, "--name", "oncall", "--dataset", A))
        assert "the evaluation set overlaps training: 5 test rows of users who are trained on" in line
    later = place.register(adapter, key="later", dataset=A, started_from=theirs)
    assert "overlaps training" in one_line(place.call(f"oncall:{later}", "base"))
    assert not (place.services.home / "evaluations").exists()


def test_what_could_not_be_looked_at_is_said(
    place: Place, publish: Callable[..., Path], adapter: Path, other_adapter: Path
) -> None:
    publish(A)
    gone = place.register(adapter, key="gone", dataset="c" * 64)
    lost = place.register(adapter, key="lost", dataset=A, started_from="v1.202601.7")
    found = json.loads(place.call(f"oncall:{gone}", f"oncall:{lost}", "--dataset", A, "--json").stdout)
    assert found["unknown"] == [
        f"oncall {gone} was trained on data set cccccccccccc, which is gone: not looked at",
        f"oncall {lost} goes on from a version that is gone (oncall: no version 'v1.202601.7'; known are {gone}, "
        f"{lost}): what it learnt is not known",
    ]
    assert found["unknown"][0] in Path(found["report"]).read_text("utf-8")
    folder = place.call(other_adapter, f"oncall:{lost}", "--dataset", A)
    assert f"not looked at: {other_adapter} does not say what it was trained on" in folder.stdout


def test_a_muted_case_does_not_count(place: Place, publish: Callable[..., Path], adapter: Path) -> None:
    """Muting makes another contest of it: the figures are others."""
    publish(A)
    version = place.register(adapter, key="k", dataset=A)
    first = json.loads(place.call(f"oncall:{version}", "base", "--json").stdout)
    url, cases = place.services.database_url, first["evaluation"]["details"]["suite"]["cases"]
    note_outcomes(url, "oncall", "a-run", cases)
    now = datetime.now(UTC)
    mute_case(url, "oncall", cases[0]["id"], reason="flaky", by="Ada", until=now + timedelta(days=7), now=now)
    again = json.loads(place.call(f"oncall:{version}", "base", "--json").stdout)
    assert (again["resumed"], again["digest"] != first["digest"]) == (False, True)
    assert again["evaluation"]["details"]["suite"]["counted"] == first["evaluation"]["details"]["suite"]["counted"] - 1
