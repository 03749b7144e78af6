"""Where the keys are that sign versions and that are believed: settings first, else the folder `keys/` of this machine.

    <home>/keys/signing.pem      the key that signs here (0600); `flytewheel up` makes one at its first start
    <home>/keys/trusted/*.pub    the public keys that are believed here, one file each; a file removed is a key revoked

`FLYTEWHEEL_SIGNING_KEY` is a path or the PEM itself, as a secret of a Flyte cluster gives it. `FLYTEWHEEL_TRUSTED_KEYS`
is a list of public keys: paths of files or folders, or PEM, with line ends or the system's path separator between;
where it is set, nothing else is believed. Keys are read when they are needed, so a revoked one is out at once, without
a restart. A new key leaves the old ones believed: versions that they signed stay good.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flytewheel.errors import SigningError
from flytewheel.settings import Settings
from registry.keys import PublicKey, SigningKey, make_signing_key, read_public_keys, read_signing_key
from registry.signing import KeySeal

FOLDER = "keys"
PRIVATE = "signing.pem"
TRUSTED = "trusted"
_PEM = "-----BEGIN "
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one machine or process.

    Attributes:
        home: state of this machine.
        signing_key: path or PEM; empty: the home's.
        password: of an encrypted one.
        trusted_keys: paths and PEM of public keys; empty: the home's.
    """

    home: Path
    signing_key: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    trusted_keys: str = ""

    @property
    def folder(self) -> Path:
        return self.home / FOLDER

    @property
    def private_path(self) -> Path | None:
        """The file of the key that signs; None where it was given as PEM."""
        if _PEM in self.signing_key:
            return None
        return Path(self.signing_key) if self.signing_key else self.folder / PRIVATE

    def has_signing_key(self) -> bool:
        """Whether this machine means to sign; whether the key is a good one shows when it is read."""
        return bool(self.signing_key) or (self.folder / PRIVATE).exists()

    def read_signing_key(self) -> SigningKey:
        """The key to sign with.

        Raises:
            SigningError: it is not there, not readable, or no private key on P-256.
        """
        path = self.private_path
        if path is None:
            text = self.signing_key if "\n" in self.signing_key.strip() else self.signing_key.replace("\\n", "\n")
            return read_signing_key(text.encode(), "FLYTEWHEEL_SIGNING_KEY", self.password or None)
        key = read_signing_key(_read(path, "private key"), str(path), self.password or None)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            print(f"warning: others may read the signing key {path}; chmod 600 it", file=sys.stderr, flush=True)
        return key

    def read_trusted_keys(self) -> list[PublicKey]:
        """The keys that are believed, each once.

        Raises:
            SigningError: a named file is missing, or holds something else than public keys on P-256.
        """
        if self.trusted_keys:
            keys = _read_listed(self.trusted_keys)
        else:
            keys = _read_folder(self.folder / TRUSTED)
            if self.signing_key:  # whoever gives the key to this process believes it
                keys.append(self.read_signing_key().public)
        return list({key.key_id: key for key in keys}.values())

    def open_seal(self, *, sign: bool = True) -> KeySeal:
        """The seal that a registry is opened with; with `sign` off, or without a key, it only checks."""
        return KeySeal(
            signing_key=self.read_signing_key if sign and self.has_signing_key() else None,
            trusted=self.read_trusted_keys,
        )

    def list_for_readers(self) -> str:
        """`trusted_keys` for a process that is not given the private key."""
        if self.trusted_keys or not self.signing_key:
            return self.trusted_keys
        trusted = self.folder / TRUSTED
        trusted.mkdir(parents=True, exist_ok=True)
        return f"{trusted}\n{self.read_signing_key().public.pem.decode()}"


def make_home_key(ring: KeyRing) -> SigningKey:
    """Makes a new key for this machine and believes it; the key before, if any, is believed on but signs no more.

    Raises:
        SigningError: the key of this process comes from its settings, where a new one has to be put by hand.
    """
    if ring.signing_key:
        raise SigningError(
            "FLYTEWHEEL_SIGNING_KEY is set, so a key in the state folder would not be used; unset it, or put a new key "
            "there: openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem"
        )
    key = make_signing_key()
    trust_key(ring, key.public)  # first, so that nothing is ever signed by a key that nobody believes
    _write(ring.folder / PRIVATE, key.pem)
    return key


def ensure_home_key(ring: KeyRing) -> SigningKey | None:
    """Makes this machine's key where it has none and its settings name none; None where there was one."""
    return None if ring.has_signing_key() else make_home_key(ring)


def trust_key(ring: KeyRing, key: PublicKey) -> Path:
    """Believes a key on this machine from now on.

    Raises:
        SigningError: what is believed comes from the settings.
    """
    _check_own_trust(ring)
    path = ring.folder / TRUSTED / f"{key.short}.pub"
    _write(path, key.pem)
    return path


def revoke_key(ring: KeyRing, name: str) -> PublicKey:
    """Believes a key no longer; what it alone has signed is served no more.

    Args:
        ring: The keys of this machine.
        name: The beginning of the key's name, as `flytewheel keys signing show` prints it.

    Raises:
        SigningError: no key or several begin so, or what is believed comes from the settings.
    """
    _check_own_trust(ring)
    folder = ring.folder / TRUSTED
    files = {path: read_public_keys(_read(path, "public key"), str(path)) for path in sorted(folder.glob("*.pub"))}
    found = {key.key_id: key for keys in files.values() for key in keys if name and key.key_id.startswith(name)}
    if len(found) != 1:
        many = f"{len(found)} trusted keys begin" if found else "no trusted key begins"
        raise SigningError(f"{many} with {name!r}: see `flytewheel keys signing show`")
    (key,) = found.values()
    for path, keys in files.items():
        kept = [other for other in keys if other != key]
        if not kept:
            path.unlink()
        elif len(kept) < len(keys):
            _write(path, b"".join(other.pem for other in kept))
    return key


def _check_own_trust(ring: KeyRing) -> None:
    if ring.trusted_keys:
        raise SigningError("FLYTEWHEEL_TRUSTED_KEYS is set and says which keys are believed: add or remove it there")


def _read_listed(text: str) -> list[PublicKey]:
    if "\n" not in text.strip():
        text = text.replace("\\n", "\n")
    blocks = [match[0] for match in _BLOCK.finditer(text)]
    keys = [key for block in blocks for key in read_public_keys(block.encode(), "FLYTEWHEEL_TRUSTED_KEYS")]
    for line in re.split(f"[\n{re.escape(os.pathsep)}]", _BLOCK.sub("\n", text)):
        if line.strip():
            path = Path(line.strip()).expanduser()
            keys += _read_folder(path) if path.is_dir() else read_public_keys(_read(path, "public key"), str(path))
    return keys


def _read_folder(folder: Path) -> list[PublicKey]:
    paths: Sequence[Path] = sorted(folder.glob("*.pub"))
    return [key for path in paths for key in read_public_keys(_read(path, "public key"), str(path))]


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningError(
            f"{path}: {what} cannot be read ({error.strerror}); correct FLYTEWHEEL_SIGNING_KEY and "
            "FLYTEWHEEL_TRUSTED_KEYS, or unset them for this machine's own"
        ) from None


def _write(path: Path, data: bytes) -> None:
    """Replaces a key's file in one step; nobody else ever reads what is in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def ring_of_settings(settings: Settings) -> KeyRing:
    """The keys of a process with these settings."""
    return KeyRing(
        settings.home,
        settings.signing_key.get_secret_value() if settings.signing_key else "",
        settings.signing_key_password.get_secret_value() if settings.signing_key_password else "",
        settings.trusted_keys or "",
    )
