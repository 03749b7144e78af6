"""A person's decision in the place of the gate, on a real PostgreSQL; whole turns are in tests/workflows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from flytewheel import runs
from flytewheel.cli import main
from flytewheel.errors import GateError
from flytewheel.experiment.experiments import open_experiment
from flytewheel.experiment.ledger import read_rollout
from flytewheel.overrides import Override, check_released, overrule, read_overrides, record_override
from flytewheel.recipe import Recipe, load_recipe
from flytewheel.records import Decision, Verdict, digest

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
PROMOTE, HOLD, REJECT = Decision.PROMOTE_TO_CANARY, Decision.HOLD, Decision.REJECT
WEIGHTS = "a1" * 32
WHY = "the figure is noise, seen by eye"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}, **fields})


def judge_run(
    database_url: str, home: Path, decision: Decision = HOLD, *, ended: bool = True, given: Recipe | None = None
) -> str:
    """A run whose gate said `decision`."""
    run = runs.open_run(database_url, given or recipe(), {"number": 1}, now=NOW, execution="e")
    leave(database_url, home, run.run_id, "curate", digest="d1")
    leave(database_url, home, run.run_id, "align", adapter_digest=WEIGHTS, method="dpo")
    reasons = ["cannot tell: bleu was not measured"]
    leave(
        database_url, home, run.run_id, "gate", decision=decision, verdict=decision, candidate=WEIGHTS, override=None,
        reasons=reasons, metrics={},
    )  # fmt: skip
    if ended:
        runs.finish_run(database_url, run.run_id)
    return run.run_id


def leave(database_url: str, home: Path, run_id: str, station: str, **report: Any) -> None:
    with runs.run_station(database_url, home, run_id, station) as found:
        found.report = report


def override(decision: Decision, verdict: Decision = HOLD, candidate: str = WEIGHTS) -> Override:
    return Override("r", candidate, verdict, decision, "Ann", WHY, NOW)


def test_an_override_to_promote_opens_its_run_again_and_no_other(database_url: str, tmp_path: Path) -> None:
    run_id = judge_run(database_url, tmp_path)
    made = record_override(database_url, run_id, PROMOTE, by=" Ann\nLee ", reason=WHY)
    assert (made.by, made.verdict, made.candidate) == ("Ann Lee", HOLD, WEIGHTS)
    assert read_overrides(database_url, run_id) == [made]
    again = runs.open_run(database_url, recipe(), {"number": 2}, now=NOW, execution="e2")
    assert (again.run_id, again.resumed, again.window) == (run_id, True, {"number": 1})
    assert overrule(Verdict(HOLD, ("cannot tell",)), WEIGHTS, read_overrides(database_url, run_id)) == (
        Verdict(
            PROMOTE,
            (
                f"overruled by Ann Lee on {made.at:%Y-%m-%d %H:%M}: promote_to_canary instead of the gate's hold, "
                f"because: {WHY}",
                "cannot tell",
            ),
        ),
        made,
    )
    runs.finish_run(database_url, run_id)
    later = runs.open_run(database_url, recipe(), {"number": 3}, now=NOW, execution="e3")
    assert later.run_id != run_id
    assert read_overrides(database_url, later.run_id) == []  # never inherited


@pytest.mark.parametrize(("decision", "wanted"), [(HOLD, REJECT), (REJECT, HOLD)])
def test_what_releases_nothing_counts_at_once_and_opens_nothing(
    database_url: str, tmp_path: Path, decision: Decision, wanted: Decision
) -> None:
    run_id = judge_run(database_url, tmp_path, decision)
    made = record_override(database_url, run_id, wanted, by="Ann", reason=WHY)
    report = runs.read_reports(database_url, run_id)["gate"]
    assert (report["decision"], report["verdict"], report["override"]["by"]) == (wanted, decision, "Ann")
    assert report["reasons"] == [made.describe(), "cannot tell: bleu was not measured"]
    assert runs.read_run(database_url, run_id).status == "succeeded"
    record_override(database_url, run_id, decision, by="Bob", reason="I had read the wrong line")
    report = runs.read_reports(database_url, run_id)["gate"]
    assert report["decision"] == decision
    assert len(report["reasons"]) == 2  # the last one counts, the table keeps both
    assert [each.by for each in read_overrides(database_url, run_id)] == ["Ann", "Bob"]


def test_it_is_for_the_weights_that_were_judged(database_url: str, tmp_path: Path) -> None:
    run_id = judge_run(database_url, tmp_path)
    with pytest.raises(GateError, match="judged the weights a1a1a1a1a1a1, not b2b2b2"):
        record_override(database_url, run_id, PROMOTE, by="Ann", reason=WHY, candidate="b2b2b2")
    with pytest.raises(GateError, match="not a"):
        record_override(database_url, run_id, PROMOTE, by="Ann", reason=WHY, candidate="a")
    leave(database_url, tmp_path, run_id, "align", adapter_digest="c3" * 32, method="dpo")
    with pytest.raises(GateError, match="was trained again since its gate judged a1a1"):
        record_override(database_url, run_id, PROMOTE, by="Ann", reason=WHY)
    assert read_overrides(database_url, run_id) == []
    verdict, found = overrule(Verdict(HOLD, ("x",)), "c3" * 32, [override(PROMOTE)])
    assert (verdict.decision, found) == (HOLD, None)
    assert verdict.reasons[0] == "not overruled: Ann decided about the weights a1a1a1a1a1a1, these are c3c3c3c3c3c3"


@given(st.sampled_from(list(Decision)), st.sampled_from(list(Decision)), st.sampled_from(list(Decision)), st.booleans())
def test_nothing_is_promoted_that_the_person_has_not_seen(
    own: Decision, seen: Decision, wanted: Decision, same: bool
) -> None:
    """Kinder than the gate only for the same weights and the same verdict; stricter always, for the same weights."""
    verdict, found = overrule(Verdict(own, ("x",)), WEIGHTS if same else "b2", [override(wanted, seen)])
    assert verdict.decision in (own, wanted)
    assert verdict.reasons[-1] == "x"
    rank = [PROMOTE, HOLD, REJECT].index
    if rank(verdict.decision) < rank(own):
        assert same
        assert own is seen
    if same and rank(wanted) >= rank(own):
        assert verdict.decision is wanted
        assert found is not None


def test_what_cannot_be_overruled_is_said_and_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    run_id = judge_run(database_url, tmp_path)
    for words, changed in {
        "no run 'nobody'": {"run_id": "nobody"},
        "name of who decides": {"by": " \n\u200b "},
        "a reason of 3 words or more": {"reason": "because so"},
        "hold is what counts already": {"decision": HOLD},
    }.items():
        arguments = {"run_id": run_id, "decision": PROMOTE, "by": "Ann", "reason": WHY, **changed}
        with pytest.raises(GateError, match=words) as caught:
            record_override(database_url, **arguments)
        assert "\n" not in str(caught.value)
    fresh = runs.open_run(database_url, recipe(seed=3), {"number": 1}, now=NOW, execution="e").run_id
    with pytest.raises(GateError, match="has not come to its gate, it has not begun to judge"):
        record_override(database_url, fresh, PROMOTE, by="Ann", reason=WHY)
    with pytest.raises(RuntimeError), runs.run_station(database_url, tmp_path, fresh, "evaluate"):
        raise RuntimeError("broken")
    with pytest.raises(GateError, match="it stands at evaluate"):
        record_override(database_url, fresh, PROMOTE, by="Ann", reason=WHY)
    newer = judge_run(database_url, tmp_path)
    with pytest.raises(GateError, match=f"{newer} of the same recipe began after it"):
        record_override(database_url, run_id, PROMOTE, by="Ann", reason=WHY)
    assert read_overrides(database_url, run_id) == read_overrides(database_url, fresh) == []
    assert {runs.read_run(database_url, each).status for each in (run_id, newer)} == {"succeeded"}


def test_a_release_under_way_is_stopped_and_one_with_a_canary_is_the_rollouts(
    database_url: str, tmp_path: Path
) -> None:
    run_id = judge_run(database_url, tmp_path, PROMOTE, ended=False)
    check_released(database_url, run_id)
    record_override(database_url, run_id, HOLD, by="Ann", reason=WHY)
    with pytest.raises(GateError, match="is not released: overruled by Ann"):
        check_released(database_url, run_id)
    other = judge_run(database_url, tmp_path, PROMOTE, given=recipe(seed=2))
    leave(database_url, tmp_path, other, "register", version="v1.202648.1", control="v1.202648.0")
    with pytest.raises(GateError, match=r"registered as v1\.202648\.1; a canary of it is up to `flytewheel rollout`"):
        record_override(database_url, other, HOLD, by="Ann", reason=WHY)
    leave(database_url, tmp_path, other, "launch_canary", experiment_id="exp-1", treatment="v1.202648.1")
    with pytest.raises(GateError, match=r"its canary is exp-1: what becomes of it is up to `flytewheel rollout`"):
        record_override(database_url, other, REJECT, by="Ann", reason=WHY)


def test_what_was_decided_stays(database_url: str, tmp_path: Path) -> None:
    run_id = judge_run(database_url, tmp_path)
    record_override(database_url, run_id, REJECT, by="Ann", reason=WHY)
    for statement in ("UPDATE gate_overrides SET reason = 'x'", "DELETE FROM gate_overrides"):
        with (
            psycopg.connect(database_url) as connection,
            pytest.raises(psycopg.errors.RaiseException, match="appended"),
        ):
            connection.execute(statement.encode())
    assert len(read_overrides(database_url, run_id)) == 1


def test_the_log_of_the_rollout_begins_with_it(database_url: str) -> None:
    body = {"override": {"by": "Ann", "reason": WHY, "verdict": "hold"}}
    open_experiment(database_url, name="oncall", control="v1", treatment="v2", share=0.1, launch_key="r", body=body)
    _, log = read_rollout(database_url, "oncall")
    assert log[-1].detail["override"] == body["override"]
    assert log[-1].detail["reason"] == f"the gate was overruled by Ann: {WHY}"


@pytest.fixture
def call(database_url: str, services: Any, store: Any, tmp_path: Path) -> Callable[..., Result]:
    """Calls `flytewheel gate …` on real services; there is no router, nothing is asked of it."""
    environ = {
        "HOME": str(tmp_path), "DATABASE_URL": database_url, "S3_URL": services.s3_url, "S3_BUCKET": store.bucket,
        "S3_ACCESS_KEY": services.s3_access_key, "S3_SECRET_KEY": services.s3_secret_key,
    }  # fmt: skip
    given = {f"FLYTEWHEEL_{key}": value for key, value in environ.items()}
    return lambda *arguments: CliRunner(env=given).invoke(main, ["gate", *arguments])


def test_the_commands_show_overrule_and_name_the_next_step(
    call: Callable[..., Result], database_url: str, tmp_path: Path
) -> None:
    run_id = judge_run(database_url, tmp_path)
    shown = call("show", run_id)
    assert shown.output.splitlines() == ["hold", "  cannot tell: bleu was not measured"]
    decide = ["override", run_id, "--decision", "promote_to_canary", "--by", "Ann", "--reason"]
    refused = call(*decide, "no")
    assert (refused.exit_code, len(refused.output.splitlines())) == (1, 1)
    assert refused.output.startswith("error: expected a reason of 3 words")
    done = call(*decide, WHY)
    assert done.exit_code == 0, done.output
    path = tmp_path / "runs" / run_id / "recipe.json"
    assert f"next: flytewheel run {path}, which resumes this run" in done.output
    assert digest(load_recipe(path)) == digest(recipe())
    told = json.loads(call("show", run_id, "--json").output)
    assert [each["by"] for each in told["overrides"]] == ["Ann"]
    assert "Ann" in call("show", run_id).output
    unknown = call("show", "nobody")
    assert (unknown.exit_code, unknown.output.splitlines()[0][:16]) == (1, "error: no run 'n")
