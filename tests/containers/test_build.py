"""What of an ImageSpec is built: the images of the project are, and what cannot be is refused."""

from __future__ import annotations

import pytest
from flytekit import ImageSpec

import images
from deploy.containers import ContainersError
from deploy.containers.build import COMPILERS, DEBIAN, configure, read_definition


def spec(**changes: object) -> ImageSpec:
    return ImageSpec(**{"name": "it", "packages": ["numpy==2.4.6"], **changes})  # type: ignore[arg-type]


def test_the_images_of_the_tasks_can_be_built() -> None:
    for image in (images.core, images.trainer):
        found = read_definition(image)
        assert list(found.packages) == list(image.packages)
        assert not COMPILERS & set(found.debian)


def test_a_definition_is_known_by_all_that_its_layers_depend_on() -> None:
    first = read_definition(spec())
    assert first.digest("a==1") == read_definition(spec()).digest("a==1")
    others = [
        read_definition(spec()).digest("a==2"),
        read_definition(spec(packages=["numpy==2.4.5"])).digest("a==1"),
        read_definition(spec(apt_packages=["git-lfs"])).digest("a==1"),
    ]
    assert len({first.digest("a==1"), *others}) == 4


def test_compilers_and_cuda_are_left_out_and_said_so() -> None:
    found = read_definition(spec(apt_packages=["cmake", "git-lfs", "build-essential"], cuda="12.6"))
    assert found.debian == (*DEBIAN, "git-lfs")
    assert found.left_out == ("cuda=12.6", "build-essential", "cmake")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"conda_packages": ["x"]}, "conda_packages"),
        ({"commands": ["rm -rf /"]}, "commands"),
        ({"python_version": "3.12"}, "3.12"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ContainersError, match=named):
        read_definition(spec(**changes))


def test_an_image_starts_where_the_code_is_and_is_not_root() -> None:
    config = configure(read_definition(spec(env={"LANG": "de", "X": "1"})))
    assert (config["WorkingDir"], config["User"]) == ("/root", "1000")
    assert {"LANG=de", "X=1", "PYTHONPATH=/root:/root/site-packages"} <= set(config["Env"])
