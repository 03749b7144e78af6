"""A model that somebody else serves behind an OpenAI-compatible address, as a version in the registry.

A version whose only file is `upstream.json` says where it is served: address, model, which key. So it is signed,
immutable and listed like every other, can be champion, control or canary, is rolled back by the same call, and nobody
who lacks a signing key can send users' prompts elsewhere (docs/adr/0035). The key itself is in no file: the form names
the variable of the router's environment that holds it.

    url: https://api.example.com/v1      as an OpenAI client is given it
    model: example-large
    api_key_env: EXAMPLE_API_KEY
    headers: {x-project: oncall}         what else each request carries; no secrets
    allow: [10.1.0.0/16]                 networks, beside the public ones, that the address may be in
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from flytewheel.addresses import read_networks
from flytewheel.errors import ModelServerError, SettingsError

UPSTREAM = "upstream.json"
_LIMIT_BYTES = 64 << 10
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
# They belong to one connection or one message; and secrets do not belong into a file that is kept for ever.
_NOT_GIVEN = frozenset(
    (
        *("host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade"),
        *("expect", "accept-encoding", "proxy-authorization", "proxy-connection", "keep-alive"),
    )
)
_SECRET = re.compile(r"authorization|cookie|api-?key|token|secret|password", re.IGNORECASE)
_PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}


class Upstream(BaseModel):
    """Where a version is served; see the module's form.

    Attributes:
        url: `http(s)://host[:port][/path]/v1`; without TLS only inside the networks of `allow`.
        model: What it is called there.
        api_key_env: Variable of the router's environment with the key.
        api_key_header: How the key is sent: `authorization` as a Bearer token, any other as it is.
        headers: What else each request carries.
        allow: Networks, beside the public ones, that the address may be in.
        endpoints: What it answers.
        warm_up: Whether it is asked for a few tokens before it gets traffic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: str = Field(max_length=500)
    model: str = Field(min_length=1, max_length=200)
    api_key_env: str | None = None
    api_key_header: str = "authorization"
    headers: dict[str, str] = Field(default_factory=dict, max_length=20)
    allow: list[str] = Field(default_factory=list, max_length=50)
    endpoints: list[Literal["chat", "completions", "embeddings"]] = Field(default=["chat"], min_length=1)
    warm_up: bool = True

    @property
    def root(self) -> str:
        """The address without `/v1`."""
        return self.url.rstrip("/").removesuffix("/v1")

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that it answers, from `root` on."""
        return tuple(dict.fromkeys(_PATHS[name] for name in self.endpoints))

    def list_headers(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What each request carries, with the key.

        Raises:
            ModelServerError: the key is not set, or cannot be sent.
        """
        if self.api_key_env is None:
            return dict(self.headers)
        key = environ.get(self.api_key_env, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            state = "cannot be sent in a header" if key else "is not set"
            raise ModelServerError(
                f"{self.url}: its key in ${self.api_key_env} {state}; set it in the router's environment"
            )
        bearer = self.api_key_header.lower() == "authorization"
        return {**self.headers, self.api_key_header: f"Bearer {key}" if bearer else key}

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
        except ValueError:
            good = False
        if not good or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("expected http(s)://host[:port][/path]/v1")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("no user, password, query or fragment; keys go into api_key_env")
        if not parts.path.rstrip("/").endswith("/v1"):
            raise ValueError("expected an address that ends in /v1, as an OpenAI client is given it")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        # The router's own secrets are in its environment, too.
        if name is not None and (
            not _VARIABLE.fullmatch(name) or name.startswith("FLYTEWHEEL_") or name == "DATABASE_URL"
        ):
            raise ValueError("expected the name of a variable that is not flytewheel's own")
        return name

    @field_validator("api_key_header")
    @classmethod
    def _check_key_header(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or name.lower() in _NOT_GIVEN:
            raise ValueError("expected the name of a header that a key may be sent in")
        return name

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _NAME.fullmatch(name) or name.lower() in _NOT_GIVEN:
                raise ValueError(f"{name[:40]!r} is no header that can be given here")
            if _SECRET.search(name):
                raise ValueError(f"{name[:40]!r} would be kept in the registry; secrets go into api_key_env")
            if len(value) > 1000 or not value.isascii() or not value.isprintable():
                raise ValueError(f"the value of {name[:40]!r} cannot be sent in a header")
        return headers

    @field_validator("allow")
    @classmethod
    def _check_networks(cls, allow: list[str]) -> list[str]:
        try:
            read_networks(allow, "allow")
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return allow

    @model_validator(mode="after")
    def _check_secrecy(self) -> Upstream:
        if self.url.startswith("http:") and not self.allow:
            raise ValueError("without TLS the prompts and the key can be read on the way: https, or a network in allow")
        return self


def read_upstream(path: Path) -> Upstream:
    """Reads a form, as JSON or YAML.

    Raises:
        ModelServerError: it cannot be read, or is no such form, with every fault.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelServerError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > _LIMIT_BYTES:
        raise ModelServerError(f"{path}: {len(data)} bytes, expected at most {_LIMIT_BYTES}")
    try:
        return Upstream.model_validate(_parse(data, path))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'form'}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise ModelServerError(f"{path}: {' '.join(faults.split())}") from None


def write_upstream(upstream: Upstream, path: Path) -> None:
    """Writes the one form that is signed: JSON with every field."""
    path.write_text(json.dumps(upstream.model_dump(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _parse(data: bytes, path: Path) -> Any:
    import yaml

    try:
        return json.loads(data) if path.suffix == ".json" else yaml.safe_load(data)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise ModelServerError(f"{path}: is no {kind} ({' '.join(str(error).split())[:200]})") from None
