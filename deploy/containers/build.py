"""The images of the ImageSpecs in `images/`, built without a container engine.

An ImageSpec is the only definition: its Python version, Debian packages, Python packages and environment are read from
the object that the tasks name, so what runs here is what a cluster would build. Three layers: Debian by mmdebstrap, the
packages by pip, our code. The first two are kept under a digest of their definition; the code is packed each time.

Departs from Flyte's own builder where the machine gives no choice: no CUDA, and the tools that compile packages stay on
this machine, whose pip compiles them. What else an ImageSpec may ask for (conda, commands, copies …) is refused.
"""

from __future__ import annotations

import compileall
import hashlib
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.containers import ContainersError, tools
from deploy.containers.layers import EPOCH_S, Layer, Tell, pack_folder, read_layer

ROOT = Path(__file__).resolve().parents[2]
WORK, PACKAGES = "/root", "/opt/flytewheel"  # the first is where Flyte's images start too
LIBRARIES = "site-packages"  # dill, by which datasets fingerprints, takes for a library what has this in its path
CODE = ("flytewheel", "registry", "router", "tasks", "workflows", "images", "recipes", "examples", "constraints.txt")
SUITE = "bookworm"
DEBIAN = ("python3", "ca-certificates", "libgomp1", "libstdc++6", "tzdata")
COMPILERS = frozenset({"build-essential", "cmake", "ninja-build", "git"})
FORMAT = 1  # a higher one lets everything be built anew
_BUILT = frozenset({"name", "python_version", "packages", "apt_packages", "env", "registry", "platform"})
_LEFT_OUT = frozenset(
    {"base_image", "cuda", "cudnn", "builder", "builder_options", "builder_config", "registry_config", "source_root"}
)


@dataclass(frozen=True)
class Definition:
    """What of an ImageSpec is built: `left_out` names what it asks for and does not get here."""

    name: str
    packages: Sequence[str]
    debian: Sequence[str]
    environ: Mapping[str, str]
    left_out: Sequence[str]

    def digest(self, constraints: str) -> str:
        """Of all that the layers under the code depend on."""
        wanted = [FORMAT, SUITE, sorted(self.packages), sorted(self.debian), sys.version_info[:2], constraints]
        return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16]


def read_definition(spec: Any) -> Definition:
    """What is built for an ImageSpec.

    Raises:
        ContainersError: it asks for something that cannot be built here.
    """
    asked = {key: value for key, value in vars(spec).items() if not key.startswith("_") and value not in (None, [], {})}
    known = _BUILT | _LEFT_OUT
    fields = set(getattr(spec, "__dataclass_fields__", {}))
    unknown = sorted((set(asked) & fields) - known)
    if unknown:
        raise ContainersError(
            f"image {spec.name} asks for {', '.join(unknown)}: built here are {', '.join(sorted(_BUILT))}"
        )
    version = ".".join(map(str, tools.PYTHON))
    if (spec.python_version or version) != version:
        raise ContainersError(f"image {spec.name} wants Python {spec.python_version}, Debian {SUITE} has {version}")
    debian = [name for name in spec.apt_packages or () if name not in COMPILERS]
    left_out = [f"{key}={value}" for key, value in sorted(asked.items()) if key in ("base_image", "cuda", "cudnn")]
    left_out += sorted(set(spec.apt_packages or ()) & COMPILERS)
    return Definition(spec.name, tuple(spec.packages or ()), (*DEBIAN, *debian), dict(spec.env or {}), tuple(left_out))


def build_layers(definition: Definition, cache: Path, programs: Mapping[str, Path], tell: Tell) -> list[Layer]:
    """Debian and the Python packages, from the cache where they were built already.

    Raises:
        ContainersError: mmdebstrap or pip failed; the message has their last words.
    """
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    debian = sorted(definition.debian)
    name = hashlib.sha256(json.dumps([FORMAT, SUITE, debian]).encode()).hexdigest()[:16]
    base = cache / f"debian-{name}.tar"
    packages = cache / f"{definition.name}-{definition.digest(constraints)}.tar"
    steps: list[tuple[Path, Callable[[], None]]]
    steps = [(base, lambda: _build_debian(debian, base, programs)), (packages, lambda: _install(definition, packages))]
    for position, (target, build) in enumerate(steps):
        tell(f"layers of {definition.name}", position, len(steps))
        if not target.exists():
            build()
    tell(f"layers of {definition.name}", len(steps), len(steps))
    return [read_layer(base), read_layer(packages)]


def pack_code(target: Path) -> Layer:
    """Our code as it lies here, compiled, as the uppermost layer."""
    with tempfile.TemporaryDirectory(prefix="flytewheel-code-") as scratch:
        staged = Path(scratch)
        for name in CODE:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, staged / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, staged / name)
        _compile(staged, WORK)
        (staged / LIBRARIES).symlink_to(PACKAGES)
        return pack_folder(staged, target, into=WORK)


def configure(definition: Definition) -> dict[str, Any]:
    """The image's configuration: where it starts, as whom, and where Python finds its packages."""
    environ = {
        "PATH": f"{PACKAGES}/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": f"{WORK}:{WORK}/{LIBRARIES}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        **definition.environ,
    }
    return {
        "Env": [f"{key}={value}" for key, value in sorted(environ.items())],
        "WorkingDir": WORK,
        "User": "1000",
        "Entrypoint": ["sleep", "infinity"],  # as a pod's sandbox; a task brings its own command
    }


def _build_debian(packages: Sequence[str], target: Path, programs: Mapping[str, Path]) -> None:
    part = target.with_name(f".{target.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale", "info")]
    command = [str(programs["mmdebstrap"]), "--mode=root", "--variant=minbase", "--format=tar", *options]
    command += [f"--include={','.join(packages)}", SUITE, str(part)]
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH_S), "PATH": tools.spell_path(programs)}
    _call(command, "mmdebstrap", environ)
    part.rename(target)


def _install(definition: Definition, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=target.parent) as scratch:
        folder = Path(scratch) / "packages"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        command += ["-c", str(ROOT / "constraints.txt"), "--target", str(folder), *definition.packages]
        _call(command, "pip", _compiler_flags())
        for script in (folder / "bin").iterdir():
            _set_interpreter(script)
        _compile(folder, PACKAGES)
        pack_folder(folder, target, into=PACKAGES)


def _compiler_flags() -> dict[str, str]:
    """As the Makefile has them, so that pip finds the llama.cpp that it has compiled already."""
    flags = (
        f"-DLLAVA_BUILD=OFF -DGGML_NATIVE=OFF '-DCMAKE_PROJECT_llama.cpp_INCLUDE={ROOT / 'images' / 'llama_cpp.cmake'}'"
    )
    beside = str(Path(sys.executable).parent)
    return {"CMAKE_ARGS": flags, **os.environ, "PATH": os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])}


def _set_interpreter(script: Path) -> None:
    content = script.read_bytes() if script.is_file() and not script.is_symlink() else b""
    if content.startswith(b"#!") and b"python" in content.split(b"\n", 1)[0]:
        script.write_bytes(re.sub(rb"\A#!.*", b"#!/usr/bin/python3", content, count=1))


def _compile(folder: Path, lies_in: str) -> None:
    """Python's files to bytecode that does not look at dates, since all files have the same."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, stripdir=folder, prependdir=lies_in, quiet=2, workers=2, invalidation_mode=mode)


def _call(command: Sequence[str], name: str, environ: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip() and "WARNING" not in line]
        raise ContainersError(f"{name} failed: {' | '.join(said[-3:])}")
