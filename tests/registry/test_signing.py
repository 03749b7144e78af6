"""Signatures of versions: what they cover, whom they are believed, and that no altered byte passes."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import SigningError
from flytewheel.records import canonical_json, file_digest
from registry.folder import check_folder, write_proof
from registry.keys import PublicKey, SigningKey, make_signing_key
from registry.manifest import Manifest, StoredFile
from registry.signing import PROVENANCE, SIGNATURE, KeySeal, read_signatures

OLD, NEW, STRANGER = (make_signing_key() for _ in range(3))
CONTENT = {"model-Q8_0.gguf": b"GGUF weights", "adapter/adapter ü.json": b"{}", "README.md": "Modell für …".encode()}
FACTS = {"dataset_digest": "d" * 64, "git_commit": "c" * 40, "verdict": "promote_to_canary", "metrics": {"bleu": 0.5}}


def seal_of(key: SigningKey | None, *trusted: PublicKey) -> KeySeal:
    return KeySeal(signing_key=(lambda: key) if key else None, trusted=lambda: trusted)


def write_files(folder: Path) -> dict[str, StoredFile]:
    for path, data in CONTENT.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return {path: StoredFile(sha256=file_digest(folder / path), size=len(data)) for path, data in CONTENT.items()}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(
        name="oncall",
        version="v1.202648.1",
        created_at=datetime(2026, 11, 28, tzinfo=UTC),
        key="run",
        files=write_files(tmp_path / "version"),
        facts=FACTS,
    )


def test_a_signature_covers_every_file_and_every_fact(manifest: Manifest) -> None:
    seal = seal_of(OLD, OLD.public)
    signature = seal.sign(manifest)
    seal.check(manifest, signature)
    files = dict(manifest.files)
    changed = StoredFile(sha256="0" * 64, size=files["README.md"].size)
    others = [
        {"files": files | {"README.md": changed}},
        {"files": files | {"extra.txt": changed}},
        {"files": {path: file for path, file in files.items() if path != "README.md"}},
        {"version": "v1.202648.2"},
        {"name": "other"},
        {"key": "another run"},
        {"created_at": datetime(2026, 11, 29, tzinfo=UTC)},
        *({"facts": FACTS | {name: None}} for name in FACTS),
        {"facts": FACTS | {"more": 1}},
    ]
    for other in others:
        with pytest.raises(SigningError, match="is not for this version") as caught:
            seal.check(manifest.model_copy(update=other), signature)
        assert "\n" not in str(caught.value)


def test_only_trusted_keys_are_believed_and_keys_can_change(manifest: Manifest) -> None:
    before = seal_of(OLD, OLD.public).sign(manifest)
    both = seal_of(NEW, OLD.public, NEW.public)
    both.check(manifest, before)  # what the old key signed stays good while it is trusted
    with pytest.raises(SigningError, match=f"is signed by {OLD.public.short}, which is not trusted"):
        seal_of(NEW, NEW.public).check(manifest, before)

    after = both.sign(manifest, before)
    assert len(read_signatures(after)) == 2
    seal_of(None, OLD.public).check(manifest, after)
    seal_of(None, NEW.public).check(manifest, after)
    assert len(read_signatures(both.sign(manifest, after))) == 2  # signing again replaces one's own
    with pytest.raises(SigningError, match=r"not trusted here \(trusted: none"):
        seal_of(None).check(manifest, after)


def test_who_cannot_sign_is_told_why(manifest: Manifest) -> None:
    with pytest.raises(SigningError, match="holds no key to sign with; make one with `flytewheel keys signing new`"):
        seal_of(None, OLD.public).sign(manifest)
    with pytest.raises(SigningError, match="is not trusted here"):
        seal_of(STRANGER, OLD.public).sign(manifest)
    with pytest.raises(SigningError, match=r"is not signed, so it is not served: .*`flytewheel models sign oncall v1"):
        seal_of(OLD, OLD.public).check(manifest, None)
    for name in (PROVENANCE, SIGNATURE, ".git/config", ".gitattributes"):
        with pytest.raises(SigningError, match=r"a file may not be called|git's own"):
            seal_of(OLD, OLD.public).sign(manifest.model_copy(update={"files": {name: manifest.files["README.md"]}}))


def test_a_signature_that_lies_about_its_key_is_refused(manifest: Manifest) -> None:
    forged = json.loads(seal_of(STRANGER, STRANGER.public).sign(manifest))
    forged[0]["verificationMaterial"]["publicKey"]["hint"] = OLD.public.key_id
    with pytest.raises(SigningError, match="is not for this version"):
        seal_of(None, OLD.public).check(manifest, canonical_json(forged))
    # beside a good one too: a wrong signature under a trusted name means that somebody was at work
    good = json.loads(seal_of(NEW, NEW.public).sign(manifest))
    with pytest.raises(SigningError, match="is not for this version"):
        seal_of(None, OLD.public, NEW.public).check(manifest, canonical_json(good + forged))


def test_no_altered_byte_of_a_signature_passes(manifest: Manifest) -> None:
    """4,000 alterations: bits flipped, bytes cut, doubled, swapped, and values of the JSON replaced by others."""
    seal = seal_of(OLD, OLD.public)
    signature, chance = seal.sign(manifest), random.Random(7)
    for _ in range(3_000):
        altered = bytearray(signature)
        at = chance.randrange(len(altered))
        match chance.randrange(4):
            case 0:
                altered[at] ^= 1 << chance.randrange(8)
            case 1:
                del altered[at : at + chance.choice([1, 7, len(altered)])]
            case 2:
                altered[at:at] = altered[at : at + 9]
            case 3:
                altered[at : at + 3] = chance.randbytes(3)
        if altered != signature:
            _refuse(seal, manifest, bytes(altered))
    odd: list[Any] = [None, "", 0, -1, 1.5, [], {}, "x" * 99, "ü", True, [[]], {"a": None}, "AAAA", "AAA=", "AB=="]
    for _ in range(1_000):
        document = json.loads(signature)
        _replace_one(document, odd, chance)
        data = canonical_json(document)
        if data != signature:
            _refuse(seal, manifest, data)
    for data in (
        b"",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        b"\xff\xfe",
        b"[NaN]",
        b"[1e999]",
        b"[" + b"9" * 9999 + b"]",
    ):
        _refuse(seal, manifest, data)


def _refuse(seal: KeySeal, manifest: Manifest, data: bytes) -> None:
    with pytest.raises(SigningError) as caught:
        seal.check(manifest, data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def _replace_one(value: Any, odd: list[Any], chance: random.Random) -> None:
    """Replaces one value somewhere in a JSON document, or takes it away."""
    while isinstance(value, dict | list) and value:
        key = chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
        if not isinstance(value[key], dict | list) or not value[key] or chance.random() < 0.2:
            if chance.random() < 0.3:
                del value[key]
            else:
                value[key] = chance.choice(odd)
            return
        value = value[key]


def test_a_payload_signed_by_a_trusted_key_for_something_else_is_refused(manifest: Manifest) -> None:
    """Statements that the key did sign, but not about a version: each is well signed, and each is refused."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private: Any = load_pem_private_key(OLD.pem, None)
    seal = seal_of(OLD, OLD.public)
    bundle = json.loads(seal.sign(manifest))[0]
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    for change in (
        {},
        {"predicateType": "https://slsa.dev/provenance/v1"},
        {"subject": []},
        {"predicate": None},
        {"predicate": {"serialization": {"method": "files"}, "resources": "x"}},
        {"predicate": statement["predicate"] | {"resources": []}},
        {"_type": 3},
    ):
        payload = json.dumps(statement | change if change else []).encode()
        kind = bundle["dsseEnvelope"]["payloadType"]
        signed = private.sign(
            f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload, ec.ECDSA(hashes.SHA256())
        )
        other = json.loads(json.dumps(bundle))
        other["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        other["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signed).decode()
        _refuse(seal, manifest, canonical_json([other]))


@pytest.fixture
def folder(manifest: Manifest, tmp_path: Path) -> Path:
    seal = seal_of(NEW, OLD.public, NEW.public)
    signature = seal.sign(manifest, seal_of(OLD, OLD.public).sign(manifest))
    write_proof(tmp_path / "version", manifest, seal_of(None, NEW.public).check(manifest, signature))
    return tmp_path / "version"


def states_of(folder: Path) -> dict[str, str]:
    _, files = check_folder(folder, seal_of(None, NEW.public))
    return {file.path: file.state for file in files}


def test_model_signings_own_tool_verifies_a_folder(folder: Path, tmp_path: Path) -> None:
    assert set(states_of(folder).values()) == {"ok"}
    for key, code in ((NEW, 0), (STRANGER, 1)):
        (tmp_path / "key.pub").write_bytes(key.public.pem)
        arguments = ["--signature", str(folder / SIGNATURE), "--public_key", str(tmp_path / "key.pub")]
        command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done
    (folder / PROVENANCE).write_bytes((folder / PROVENANCE).read_bytes().replace(b"canary", b"CANARY"))
    (tmp_path / "key.pub").write_bytes(NEW.public.pem)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Hash mismatch for 'provenance.json'" in done.stdout + done.stderr


def test_a_folder_names_what_is_changed_missing_and_extra(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").write_bytes(b"Modell f\xc3\xbcr ..")
    (folder / "model-Q8_0.gguf").unlink()
    (folder / ".gitignore").write_text("*")
    (folder / "adapter" / "training_args.bin").write_bytes(b"pickle")
    (tmp_path / "elsewhere").mkdir()
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    assert states_of(folder) == {
        ".gitignore": "extra",
        "README.md": "changed",
        "adapter/adapter ü.json": "ok",
        "adapter/training_args.bin": "extra",
        "model-Q8_0.gguf": "missing",
        "more": "extra",
    }
    same = tmp_path / "same"
    (folder / "adapter" / "adapter ü.json").rename(same)
    (folder / "adapter" / "adapter ü.json").symlink_to(same)
    assert states_of(folder)["adapter/adapter ü.json"] == "changed"  # what a link points to can change at any time


@pytest.mark.parametrize("name", [PROVENANCE, SIGNATURE])
def test_a_folder_without_its_proof_is_refused(folder: Path, name: str) -> None:
    kept = (folder / name).read_bytes()
    for data in (b"", b"{}", kept[:-1], kept + b" ", b"[" + kept + b"]", kept.replace(b"a", b"b", 1), b"\xff"):
        (folder / name).write_bytes(data)
        if name == SIGNATURE and data == kept + b" ":
            assert states_of(folder)["README.md"] == "ok"  # white space around JSON says nothing
            continue
        with pytest.raises(SigningError) as caught:
            check_folder(folder, seal_of(None, NEW.public))
        assert "\n" not in str(caught.value)
    (folder / name).unlink()
    with pytest.raises(SigningError, match="nothing vouches for this folder"):
        check_folder(folder, seal_of(None, NEW.public))
