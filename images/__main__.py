"""`python -m images NAME`: builds and pushes an image by itself; `--dockerfile FOLDER` only writes what it is built of.

Tasks' images are built by `pyflyte register`; the service's is no task's, so it is built here.
"""

from __future__ import annotations

from pathlib import Path

import click

from images import SPECS


@click.command()
@click.argument("name", type=click.Choice(sorted(SPECS)))
@click.option("--dockerfile", "folder", type=click.Path(path_type=Path), help="Write Dockerfile and context; no build.")
def main(name: str, folder: Path | None) -> None:
    """Build the image NAME and push it to the domain's registry; needs Docker with buildx."""
    spec = SPECS[name]
    if folder is None:
        from flytekit.image_spec.image_spec import ImageBuildEngine

        ImageBuildEngine.build(spec)
    else:
        from flytekit.image_spec.default_builder import create_docker_context

        folder.mkdir(parents=True, exist_ok=True)
        create_docker_context(spec, folder)
    click.echo(spec.image_name() if folder is None else folder / "Dockerfile")


if __name__ == "__main__":
    main()
