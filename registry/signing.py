"""The seal of a version: its manifest and the digest of each of its files, signed as one model by `model-signing`.

What is signed is the version's folder as it is downloaded: every file, and beside them `provenance.json`, which is the
manifest as it lies in the store, with all its facts. So one signature covers weights, data set digest, recipe, commit,
evaluation, verdict and parity, and Sigstore's own tool checks a downloaded folder with nothing of ours:

    model_signing verify key FOLDER --signature FOLDER/model.sig --public_key KEY.pub

Nothing is hashed a second time: the library is handed the digests that the registry has just made (a hashing
configuration that answers with a known manifest; `signing.Config` and `verifying.Config` are its stable interface).

`signatures/<manifest digest>.json` is a list of such signatures, so that keys can change: a version is believed when a
trusted key has signed it and no trusted key's signature is wrong. The list is read strictly: every byte of it is either
what this module would write or refused. Departs from the library in that: it reads with patience, ignores unknown
fields, and answers an older form with a warning on standard output.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from flytewheel.errors import SigningError
from flytewheel.records import canonical_json
from registry.claims import list_versions
from registry.keys import PublicKey, SigningKey, name_keys
from registry.manifest import Manifest, check_name
from registry.pointers import read_pointer
from registry.seal import signature_key
from registry.store import ObjectStore

PROVENANCE = "provenance.json"  # the manifest, in a downloaded folder
SIGNATURE = "model.sig"  # one signature, in a downloaded folder
_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_OF_GIT = (".git", ".github", ".gitattributes", ".gitignore")  # model-signing never looks at these


class KeySeal:
    """Signs with one key, believes several."""

    def __init__(
        self, *, signing_key: Callable[[], SigningKey] | None, trusted: Callable[[], Sequence[PublicKey]]
    ) -> None:
        """Takes the keys by asking for them, each time anew: a key that is withdrawn is not believed any longer.

        Args:
            signing_key: The key to sign with; None where this process only reads.
            trusted: The keys that are believed.
        """
        self._signing_key = signing_key
        self._trusted = trusted

    def sign(self, manifest: Manifest, earlier: bytes | None = None) -> bytes:
        """The signatures of a version with this key's among them; those of other keys stay.

        Earlier ones that cannot be read are dropped: who signs anew has looked at the version, not at its signatures.

        Raises:
            SigningError: there is no key, it is not one that is believed here, or a file's name cannot be signed.
        """
        if self._signing_key is None:
            raise SigningError(f"{_title(manifest)}: this process holds no key to sign with; {SET_KEY}")
        key = self._signing_key()
        trusted = self._trusted()
        if key.public not in trusted:
            raise SigningError(
                f"signing key {key.public.short} is not trusted here (trusted: {name_keys(trusted)}): nobody would "
                "believe the version; add its public key to FLYTEWHEEL_TRUSTED_KEYS, or sign with another"
            )
        check_file_names(manifest)
        kept = []
        if earlier is not None:
            try:
                kept = [bundle for bundle in read_signatures(earlier) if _hint(bundle) != key.public.key_id]
            except SigningError:
                kept = []
        return canonical_json([*kept, _sign(manifest, key)])

    def check(self, manifest: Manifest, signature: bytes | None) -> bytes:
        """Whether a trusted key has signed exactly this manifest and these files.

        Args:
            manifest: As read from the store, held against its digest.
            signature: As read from the store; None where there is none.

        Returns:
            The signature of a trusted key, as `model-signing` reads it from a file.

        Raises:
            SigningError: it was not signed, by no trusted key, or what was signed is something else.
        """
        title = _title(manifest)
        again = f"`flytewheel models sign {manifest.name} {manifest.version}`"
        if signature is None:
            raise SigningError(
                f"{title} is not signed, so it is not served: if you know where it comes from, sign it with {again}"
            )
        try:
            bundles = read_signatures(signature)
        except SigningError as error:
            raise SigningError(f"{title}: {error}; restore it, or sign the version anew with {again}") from None
        keys = {key.key_id: key for key in self._trusted()}
        ours = [bundle for bundle in bundles if _hint(bundle) in keys]
        if not ours:
            signers = ", ".join(_hint(bundle)[:16] for bundle in bundles)
            raise SigningError(
                f"{title} is signed by {signers}, which is not trusted here (trusted: {name_keys(keys.values())}): add "
                f"that public key to FLYTEWHEEL_TRUSTED_KEYS if you know whose it is, or sign it anew with {again}"
            )
        for bundle in ours:
            _verify(manifest, bundle, keys[_hint(bundle)])
        return json.dumps(ours[0], separators=(",", ":")).encode()


SET_KEY = "make one with `flytewheel keys signing new`, or set FLYTEWHEEL_SIGNING_KEY"


def read_signatures(data: bytes) -> list[dict[str, Any]]:
    """The signatures in `signatures/<digest>.json`, none of them verified.

    Raises:
        SigningError: a byte of it is not as it was written.
    """
    try:
        bundles = json.loads(data)
        if not isinstance(bundles, list) or not bundles or canonical_json(bundles) != data:
            raise ValueError("expected a list of signatures")
        for bundle in bundles:
            envelope = bundle["dsseEnvelope"]
            payload, sig = envelope["payload"], envelope["signatures"][0]["sig"]
            plain = [base64.b64encode(base64.b64decode(text, validate=True)).decode() for text in (payload, sig)]
            hint = bundle["verificationMaterial"]["publicKey"]["hint"]
            if not isinstance(hint, str) or bundle != _bundle(hint, *plain):
                raise ValueError("expected a signature by a key, as model-signing writes it")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        cause = " ".join(str(error).split())[:120]
        raise SigningError(f"its signatures cannot be read ({type(error).__name__}: {cause})") from None
    return bundles


def list_unsigned(store: ObjectStore, name: str) -> list[str]:
    """The versions of a model that nobody has signed, oldest first; whose signature others have is not looked at."""
    check_name(name)
    signed = set(store.list("signatures/"))
    pointers = {str(version): read_pointer(store, name, str(version)) for version in list_versions(store, name)}
    return [version for version, found in pointers.items() if found and signature_key(found["manifest"]) not in signed]


def check_file_names(manifest: Manifest) -> None:
    """Refuses files that a signed folder could not hold: the names are taken, or `model-signing` passes them over."""
    for path in manifest.files:
        if path in (PROVENANCE, SIGNATURE):
            raise SigningError(f"{_title(manifest)}: a file may not be called {path!r}, the signed folder uses it")
        if path.partition("/")[0] in _OF_GIT:
            raise SigningError(f"{_title(manifest)}: {path!r} is git's own and would not be signed; leave it out")


def _sign(manifest: Manifest, key: SigningKey) -> dict[str, Any]:
    from model_signing import signing

    with tempfile.TemporaryDirectory() as folder, _readable(key.pem) as private:
        file = Path(folder, SIGNATURE)
        config = signing.Config().use_elliptic_key_signer(private_key=private)
        config.set_hashing_config(_known(manifest)).sign(folder, file)
        bundle: dict[str, Any] = json.loads(file.read_bytes())
    read_signatures(canonical_json([bundle]))  # a library that writes another form is noticed here, not by a reader
    return bundle


def _verify(manifest: Manifest, bundle: dict[str, Any], key: PublicKey) -> None:
    from model_signing import verifying

    with tempfile.TemporaryDirectory() as folder:
        public, file = Path(folder, "key.pub"), Path(folder, SIGNATURE)
        public.write_bytes(key.pem)
        file.write_bytes(canonical_json(bundle))
        try:
            config = verifying.Config().use_elliptic_key_verifier(public_key=public)
            config.set_hashing_config(_known(manifest)).verify(Path(folder), file)
        except Exception as error:  # whatever the library meets in what a stranger wrote
            cause = " ".join(str(error).split())[:200] or type(error).__name__
            raise SigningError(
                f"{_title(manifest)}: the signature of key {key.short} is not for this version ({cause}): it was "
                "changed after it was signed; restore it, or register it again from its run"
            ) from None


def _known(manifest: Manifest) -> Any:
    """A hashing configuration of `model-signing` that answers with the digests of `manifest` and reads nothing."""
    from model_signing import hashing
    from model_signing import manifest as signed

    digests = {path: file.sha256 for path, file in manifest.files.items()} | {PROVENANCE: manifest.digest}
    kind = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
    items = [
        signed.FileManifestItem(path=PurePosixPath(path), digest=signed.hashing.Digest("sha256", bytes.fromhex(digest)))
        for path, digest in digests.items()
    ]
    known = signed.Manifest(_title(manifest), items, signed.SerializationType.from_args(kind))

    class Known(hashing.Config):  # type: ignore[misc]  # it comes without types
        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> signed.Manifest:
            return known

    return Known()


@contextmanager
def _readable(secret: bytes) -> Iterator[str]:
    """A path that gives `secret` once, through a pipe: the library wants a file, and the key is to lie on no disk."""
    read, write = os.pipe()
    try:
        os.write(write, secret)  # a key is a few hundred bytes, a pipe holds 4,096 and more
        os.close(write)
        yield f"/dev/fd/{read}"
    finally:
        os.close(read)


def _bundle(hint: str, payload: str, sig: str) -> dict[str, Any]:
    return {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": payload,
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": sig, "keyid": ""}],
        },
    }


def _hint(bundle: dict[str, Any]) -> str:
    return str(bundle["verificationMaterial"]["publicKey"]["hint"])


def _title(manifest: Manifest) -> str:
    return f"{manifest.name} {manifest.version}"
