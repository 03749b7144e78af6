"""The programs of Debian that build and run containers: those of this machine, else unpacked beside our state.

Unpacked, not installed: installing containerd would start a service of the machine's. Nothing but `apt-get download`
and `dpkg -x` is used, so that a machine that has the programs already is left as it is.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.containers import ContainersError

PACKAGES = {
    "containerd": ("containerd", "ctr", "containerd-shim-runc-v2"),
    "runc": ("runc",),
    "mmdebstrap": ("mmdebstrap",),
}
PYTHON = (3, 11)  # of Debian 12, which the images stand on; packages are compiled for one version
_FOLDERS = ("usr/bin", "usr/sbin")


def check_machine() -> None:
    """Sees that containers can be built and run here at all.

    Raises:
        ContainersError: not Linux, not root, no Debian, or another Python than the images'.
    """
    if platform.system() != "Linux":
        raise ContainersError(f"containers need Linux and this is {platform.system()}; run it on a Debian 12 machine")
    if os.geteuid() != 0:
        raise ContainersError("containers need root, for namespaces and mounts: run `sudo make containers`")
    if sys.version_info[:2] != PYTHON:
        here, wanted = (".".join(map(str, version)) for version in (sys.version_info[:2], PYTHON))
        raise ContainersError(
            f"this is Python {here}, and the images have Debian's {wanted}, which packages are compiled for; "
            f"run `make containers PYTHON=python{wanted} VENV=.venv-containers`"
        )


def find_tools(folder: Path, *, fetch: bool = True) -> Mapping[str, Path]:
    """The programs by name, those of this machine first.

    Args:
        folder: where missing packages are unpacked.
        fetch: ask Debian's archive for what is missing.

    Raises:
        ContainersError: one is missing and cannot be had.
    """
    missing = [package for package, programs in PACKAGES.items() if not all(_find(name, folder) for name in programs)]
    if missing and fetch:
        _fetch(missing, folder)
    found = {name: _find(name, folder) for programs in PACKAGES.values() for name in programs}
    lacking = sorted(name for name, path in found.items() if path is None)
    if lacking:
        raise ContainersError(
            f"{', '.join(lacking)} not found; on Debian: apt-get install {' '.join(PACKAGES)}, or run "
            "`make containers` where Debian's archive can be reached"
        )
    return {name: path for name, path in found.items() if path is not None}


def spell_path(tools: Mapping[str, Path]) -> str:
    """A PATH on which the programs find each other."""
    own = dict.fromkeys(str(path.parent) for path in tools.values())
    return os.pathsep.join([*own, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _find(name: str, folder: Path) -> Path | None:
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin", *(str(folder / part) for part in _FOLDERS)]
    found = shutil.which(name, path=os.pathsep.join(places))
    return Path(found) if found else None


def _fetch(packages: Sequence[str], folder: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise ContainersError(f"{', '.join(packages)} missing and this is no Debian: install them, then try again")
    archives = folder / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "download", *packages]):
        done = subprocess.run(command, cwd=archives, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode and command[-1] != "update":  # a third party's list that fails does not matter
            said = " | ".join(done.stderr.strip().splitlines()[-2:])
            raise ContainersError(f"Debian's archive did not give {', '.join(packages)} ({said}); is there a network?")
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True, timeout=120)
    shutil.rmtree(archives)
