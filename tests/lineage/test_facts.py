from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from flytewheel import __version__
from flytewheel.lineage import describe_base, describe_candidate, find_commit
from flytewheel.recipe import Recipe
from flytewheel.records import digest

RECIPE = Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}})
REPORTS = {
    "curate": {"digest": "d1"},
    "gate": {"decision": "promote_to_canary", "reasons": ["for"], "metrics": {"perplexity": 1.1}},
    "export_gguf": {"parity": {"Q8_0": 1}, "base_parity": {"Q8_0": 2}, "serve": "model-Q8_0.gguf"},
}


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed: apt-get install git")
def test_a_commit_says_whether_files_differ_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert find_commit(tmp_path) == commit
    (tmp_path / "untracked.py").write_text("1")
    assert find_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("2")
    assert find_commit(tmp_path) == f"{commit}+changes"


def test_without_git_it_is_the_packages_version(tmp_path: Path) -> None:
    assert find_commit(tmp_path / "gone") == f"flytewheel {__version__}"


def test_a_candidate_answers_for_its_data_recipe_and_code(tmp_path: Path) -> None:
    facts = describe_candidate(RECIPE, REPORTS, run_id="r", code=tmp_path, champion="", base_digest="b")
    assert facts["dataset_digest"] == "d1"
    assert facts["recipe_digest"] == digest(RECIPE)
    assert Recipe.model_validate(facts["recipe"]) == RECIPE
    assert (facts["judged_against"], facts["verdict"], facts["base_digest"]) == ("base", "promote_to_canary", "b")
    judged = describe_candidate(RECIPE, REPORTS, run_id="r", code=tmp_path, champion="v1.202647.1", base_digest="b")
    assert judged["judged_against"] == "v1.202647.1"


def test_the_base_answers_for_its_parity(tmp_path: Path) -> None:
    facts = describe_base(RECIPE, REPORTS, run_id="r", code=tmp_path, base_digest="b")
    assert (facts["kind"], facts["parity"], facts["base_model"]) == ("base", {"Q8_0": 2}, "pocket")
