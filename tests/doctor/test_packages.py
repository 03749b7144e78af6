"""Packages and where curves go."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import metadata

import pytest

from flytewheel.doctor import packages
from flytewheel.doctor.packages import Tracking, judge_packages, judge_tracking, read_packages, read_tracking


def test_what_is_installed_here_is_found_and_loads() -> None:
    found = read_packages()
    for name, distribution in (("xllamacpp", "xllamacpp"), ("llama_cpp", "llama-cpp-python"), ("wandb", "wandb")):
        assert found[name].version == metadata.version(distribution)
        assert found[name].usable, found[name].fault
    assert list(judge_packages(found)) == []


def test_what_cannot_be_used_is_missing_with_the_command() -> None:
    found = read_packages()
    found["xllamacpp"] = replace(found["xllamacpp"], version=None)
    found["llama_cpp"] = replace(found["llama_cpp"], version="0.3.36", fault="OSError: libgomp.so.1: no such file")
    first, second = map(str, judge_packages(found))
    assert first.startswith("missing: the package xllamacpp is not installed")
    assert first.endswith("; pip install xllamacpp (README, Set-up)")
    assert "cannot be loaded (OSError: libgomp.so.1: no such file)" in second
    assert second.endswith("; pip install --force-reinstall --no-deps llama-cpp-python==0.3.36")


def test_what_can_be_done_without_is_no_fault() -> None:
    found = read_packages()
    found["bitsandbytes"] = replace(found["bitsandbytes"], version=None)
    assert list(judge_packages(found)) == []


def test_declared_packages_that_are_absent_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = ["polars>=2", "no-such-package[extra]>=1", "also_absent==3; extra == 'dev'"]
    monkeypatch.setattr(packages.metadata, "requires", lambda name: declared)
    (finding,) = judge_packages(read_packages())
    assert str(finding).startswith("missing: not installed: no-such-package; pip install")


def test_a_module_that_breaks_when_it_is_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # how Python itself says that an import is barred
    found = read_packages()["xllamacpp"]
    assert not found.usable
    assert "ModuleNotFoundError" in (found.fault or "")


@pytest.mark.parametrize(
    ("environ", "answers", "expected"),
    [
        ({}, True, Tracking("offline", "api.wandb.ai", None)),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "k"}, True, Tracking("disabled", "api.wandb.ai", None)),
        ({"WANDB_API_KEY": "k"}, True, Tracking("online", "api.wandb.ai", True)),
        ({"WANDB_API_KEY": "k", "WANDB_BASE_URL": "http://own:8080"}, False, Tracking("online", "own", False)),
        ({"WANDB_API_KEY": "k", "HTTPS_PROXY": "http://p"}, False, Tracking("online", "api.wandb.ai", None)),
    ],
)
def test_tracking_is_asked_only_where_it_would_be_used(
    environ: dict[str, str], answers: bool, expected: Tracking
) -> None:
    found = read_tracking({"HOME": "/nowhere", **environ}, reach=lambda host, port: answers)
    assert found == expected
    doubts = [str(finding) for finding in judge_tracking(found)]
    assert len(doubts) == (expected.reachable is False)
    assert all("set WANDB_MODE=offline" in doubt for doubt in doubts)


def test_a_closed_port_is_not_reachable() -> None:
    environ = {"HOME": "/nowhere", "WANDB_API_KEY": "k", "WANDB_BASE_URL": "http://127.0.0.1:9"}
    assert read_tracking(environ).reachable is False
