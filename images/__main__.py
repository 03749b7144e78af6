"""Prints `--image` options that name the images without building them: `pyflyte … package $(python -m images)`."""

from __future__ import annotations

from images import REGISTRY, core, trainer

if __name__ == "__main__":
    print(" ".join(f"--image {spec.id}={REGISTRY}/{spec.name}:packaged" for spec in (core, trainer)))
