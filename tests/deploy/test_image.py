"""The service image holds what the router imports: everything else is hidden, and every module is imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "deploy" / "service.txt"
OURS = {"flytewheel", "registry", "router"}
IMPORT = """
import importlib, pkgutil, sys
hidden = set(sys.argv[1].split(","))
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in hidden:
            raise ModuleNotFoundError(f"not in the image: {name}", name=name)
sys.meta_path.insert(0, Hide())
import router
for found in pkgutil.walk_packages(router.__path__, "router."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
for name in "flytewheel.migrate_commands flytewheel.keys_commands flytewheel.api_keys ministack.app xllamacpp".split():
    importlib.import_module(name)
"""


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; (]", requirement, maxsplit=1)[0].strip().lower().replace("_", "-")


def _list_wanted() -> list[str]:
    lines = SERVICE.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _find_closure() -> set[str]:
    """The packages that pip would install."""
    left, found = [*map(_name, _list_wanted()), "psycopg-binary"], set()
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another platform
        found.add(name)
        left += [_name(each) for each in needs if "extra ==" not in each]
    return found


def test_nothing_that_the_router_imports_is_missing() -> None:
    closure = _find_closure()
    hidden = {
        module
        for module, owners in metadata.packages_distributions().items()
        if module not in OURS and not any(_name(owner) in closure for owner in owners)
    }
    assert {"torch", "transformers", "flytekit"} <= hidden
    command = [sys.executable, "-c", IMPORT, ",".join(sorted(hidden))]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_is_named_is_pinned_and_a_dependency_of_ours() -> None:
    pins = {_name(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    declared = {_name(line.strip().strip('",')) for line in (ROOT / "pyproject.toml").read_text("utf-8").splitlines()}
    for each in _list_wanted():
        assert _name(each) in pins, each
        assert _name(each) in declared, each
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY ([\w./]+(?: [\w./]+)*) [\w./]+$", dockerfile, re.MULTILINE)
    assert len(copied) > 8
    assert all((ROOT / each).exists() for line in copied for each in line.split())
