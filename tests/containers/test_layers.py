"""Layers and archives: the same files give the same digests, and an archive is what the specification says."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from deploy.containers.layers import EPOCH_S, Layer, pack_folder, pack_image, read_layer


def make_tree(root: Path, *, backwards: bool = False) -> Path:
    """A few files of many kinds, made in one order or the other."""
    names = ["b/ü.txt", "a/run.sh", "a-b/empty", "a/deep/x"]
    for name in reversed(names) if backwards else names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name if "empty" not in name else "", encoding="utf-8")
    (root / "a" / "run.sh").chmod(0o700)
    (root / "link").symlink_to("a/run.sh")
    (root / "dangling").symlink_to("nowhere")
    if backwards:
        os.utime(root / "a" / "run.sh", (1, 1))
        (root / "a").chmod(0o700)
    return root


def read(layer: Layer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(layer.path) as tar:
        return {member.name: member for member in tar.getmembers()}


def test_the_same_files_give_the_same_layer(tmp_path: Path) -> None:
    one = pack_folder(make_tree(tmp_path / "one"), tmp_path / "one.tar", into="/opt/it")
    other = pack_folder(make_tree(tmp_path / "other", backwards=True), tmp_path / "other.tar", into="/opt/it")
    assert one.digest == other.digest == f"sha256:{hashlib.sha256(one.path.read_bytes()).hexdigest()}"
    (tmp_path / "one" / "b" / "ü.txt").write_text("!", encoding="utf-8")
    assert pack_folder(tmp_path / "one", tmp_path / "third.tar", into="/opt/it").digest != one.digest


def test_a_layer_holds_folders_links_and_modes_and_belongs_to_root(tmp_path: Path) -> None:
    members = read(pack_folder(make_tree(tmp_path / "tree"), tmp_path / "t.tar", into="/opt/it"))
    assert list(members)[:3] == ["opt", "opt/it", "opt/it/a"]
    assert members["opt/it/a/run.sh"].mode == 0o755
    assert members["opt/it/b/ü.txt"].mode == 0o644
    assert members["opt/it/link"].linkname == "a/run.sh"
    assert members["opt/it/dangling"].issym()
    assert {(one.uid, one.gid, one.mtime) for one in members.values()} == {(0, 0, EPOCH_S)}
    order = list(members)
    assert all(str(Path(name).parent) in (".", *order[:place]) for place, name in enumerate(order))


def test_what_is_skipped_is_left_out_with_all_in_it(tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "tree")
    members = read(pack_folder(folder, tmp_path / "t.tar", into="/x", skip=lambda name: name == "a"))
    assert sorted(members) == ["x", "x/a-b", "x/a-b/empty", "x/b", "x/b/ü.txt", "x/dangling", "x/link"]


def test_an_archive_is_an_oci_layout_whose_digests_hold(tmp_path: Path) -> None:
    layers = [
        pack_folder(make_tree(tmp_path / name), tmp_path / f"{name}.tar", into=f"/{name}") for name in ("low", "high")
    ]
    told: list[tuple[str, int, int | None]] = []
    digest = pack_image(
        tmp_path / "image.tar", "here/it:v1", layers, {"User": "1000"}, lambda *given: told.append(given)
    )
    with tarfile.open(tmp_path / "image.tar") as tar:
        blobs = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    assert json.loads(blobs["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for name, blob in blobs.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"
    (pointed,) = json.loads(blobs["index.json"])["manifests"]
    assert pointed["digest"] == digest
    assert pointed["annotations"]["io.containerd.image.name"] == "here/it:v1"
    manifest = json.loads(blobs[f"blobs/sha256/{digest.removeprefix('sha256:')}"])
    config = json.loads(blobs[f"blobs/sha256/{manifest['config']['digest'].removeprefix('sha256:')}"])
    assert [one["digest"] for one in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert [one["size"] for one in manifest["layers"]] == [layer.size for layer in layers]
    assert config["config"] == {"User": "1000"}
    assert told[-1][1] == told[-1][2]
    again = pack_image(tmp_path / "again.tar", "here/it:v1", layers, {"User": "1000"}, lambda *given: None)
    assert again == digest
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "image.tar").read_bytes()


def test_packing_that_fails_leaves_nothing(tmp_path: Path) -> None:
    layer = read_layer(pack_folder(make_tree(tmp_path / "tree"), tmp_path / "t.tar", into="/x").path)
    layer.path.unlink()
    with pytest.raises(FileNotFoundError):
        pack_image(tmp_path / "image.tar", "here/it:v1", [layer], {}, lambda *given: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tree"]
