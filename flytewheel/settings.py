"""Where the services are: environment variables with the prefix ``FLYTEWHEEL_``, read once, at the edge.

A recipe says *what* to do and travels with a run; settings say *where* and stay with the machine. Nothing below the
command line, the task files and the router's start reads the environment.

| variable | meaning | default |
|---|---|---|
| `FLYTEWHEEL_HOME` | state of this machine: embedded services, runs, checkpoints | `.flytewheel` |
| `FLYTEWHEEL_DATABASE_URL` | a PostgreSQL of your own (`DATABASE_URL` is read when this one is not set) | embedded |
| `FLYTEWHEEL_S3_URL` | an S3 endpoint of your own, `http(s)://host[:port][/bucket]` | embedded |
| `FLYTEWHEEL_S3_ACCESS_KEY`, `FLYTEWHEEL_S3_SECRET_KEY`, `FLYTEWHEEL_S3_REGION` | its keys | – |
| `FLYTEWHEEL_S3_BUCKET` | bucket of data sets, runs and the registry | `flytewheel` |
| `FLYTEWHEEL_ROUTER_URL` | a router that already runs | embedded |
| `FLYTEWHEEL_ADMIN_KEY` | bearer key of the router's control API | made at the first start |
| `FLYTEWHEEL_API_KEY` | API key that our own clients send (`flytewheel keys create`) | made at the first start |
| `FLYTEWHEEL_CORS_ORIGINS` | origins of web pages that may chat and react, with commas, `https://host[:port]` | none |
| `FLYTEWHEEL_BODY_LIMIT` | bytes of a request's body; chats may be five times as large, for images | `4194304` |
| `FLYTEWHEEL_INSECURE_LOOPBACK` | `1`: a router on loopback lets callers without a key chat, react and read | – |
| `FLYTEWHEEL_LOG_FORMAT` | lines of the router's log: `text` or `json` | `text` |
| `FLYTEWHEEL_ASSIGNMENT_KEY` | secret of the sticky assignment and of receipts | made at the first start |
| `FLYTEWHEEL_SIGNING_KEY` | private P-256 key that signs versions: a path, or the PEM itself | made at first start |
| `FLYTEWHEEL_SIGNING_KEY_PASSWORD` | of an encrypted one | – |
| `FLYTEWHEEL_TRUSTED_KEYS` | public keys that are believed: paths of files or folders, or PEM | this machine's |
| `FLYTEWHEEL_ERASURE_KEY` | secret that erased people are known by, one for a database | `HOME/erasure.key` |
| `FLYTEWHEEL_BACKEND` | what answers behind the router: `llama.cpp`, `ollama` or `vllm` | `llama.cpp` |
| `FLYTEWHEEL_BACKEND_URL` | where that Ollama or vLLM is, `http(s)://[user:password@]host[:port]` | – |
| `FLYTEWHEEL_BACKEND_KEY` | its key, sent as a Bearer token | – |
| `FLYTEWHEEL_BACKEND_FOLDER` | where vLLM's machine sees `HOME/models` | the same path |
| `FLYTEWHEEL_IMAGE_REGISTRY` | container registry of the tasks' images, read when these are built | `localhost:30000` |
| `FLYTEWHEEL_RECIPE` | recipe of the scheduled launch plans, read at registration | `recipes/laptop.yaml` |
| `FLYTEWHEEL_FRESH` | `1`: trainings begin anew; unfinished ones are set aside (`flytewheel run --fresh`) | – |
| `FLYTEWHEEL_DEBUG` | `1` shows the whole trace of an error | – |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from flytewheel.errors import SettingsError

PREFIX = "FLYTEWHEEL_"
BACKENDS = ("llama.cpp", "ollama", "vllm")


class Settings(BaseModel):
    """Settings of this process; see the module's table. `None` means: use the embedded service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Path(".flytewheel")
    database_url: str | None = None
    s3_url: str | None = None
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_region: str | None = None
    s3_bucket: str = "flytewheel"
    router_url: str | None = None
    admin_key: SecretStr | None = None
    assignment_key: SecretStr | None = None
    api_key: SecretStr | None = None
    cors_origins: tuple[str, ...] = ()
    body_limit: int = Field(default=4 << 20, ge=1 << 10, le=1 << 30)
    insecure_loopback: bool = False
    log_format: Literal["text", "json"] = "text"
    signing_key: SecretStr | None = None
    signing_key_password: SecretStr | None = None
    trusted_keys: str | None = None
    erasure_key: SecretStr | None = None
    backend: str = "llama.cpp"
    backend_url: str | None = None
    backend_key: SecretStr | None = None
    backend_folder: str | None = None
    image_registry: str | None = None
    recipe: Path | None = None
    fresh: bool = False
    debug: bool = False


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings from `environ` (default: the process's environment).

    Raises:
        SettingsError: an unknown `FLYTEWHEEL_` variable, or a URL without scheme or host.
    """
    environ = os.environ if environ is None else environ
    given = {
        key.removeprefix(PREFIX).lower(): value for key, value in environ.items() if key.startswith(PREFIX) and value
    }
    unknown = sorted(set(given) - set(Settings.model_fields))
    if unknown:
        names = ", ".join(PREFIX + key.upper() for key in unknown)
        known = ", ".join(PREFIX + key.upper() for key in Settings.model_fields)
        raise SettingsError(f"unknown setting {names}: known are {known}")
    if "database_url" not in given and environ.get("DATABASE_URL"):
        given["database_url"] = environ["DATABASE_URL"]
    for key in ("database_url", "s3_url", "router_url", "backend_url"):
        if key in given:
            try:
                parts = urlsplit(given[key])
            except ValueError:  # such as half a pair of brackets
                parts = urlsplit("")
            if not parts.scheme or not (parts.hostname or parts.scheme.startswith("postgres")):
                told = given[key].rpartition("@")[2] if key == "backend_url" else given[key]
                raise SettingsError(f"{PREFIX}{key.upper()}={told!r}: expected scheme://host[:port]")
    if "s3_url" in given:
        parts = urlsplit(given["s3_url"])
        bucket = parts.path.strip("/")
        if bucket:
            given.setdefault("s3_bucket", bucket)
            given["s3_url"] = f"{parts.scheme}://{parts.netloc}"
    for key in ("signing_key", "trusted_keys"):
        if key in given and "-----BEGIN" not in given[key]:  # paths, which children with other folders are to find
            paths = given[key].split(os.pathsep)
            given[key] = os.pathsep.join(str(Path(path).expanduser().absolute()) for path in paths)
    backend = given.get("backend", BACKENDS[0])
    if backend not in BACKENDS:
        raise SettingsError(f"{PREFIX}BACKEND={backend!r}: expected one of {', '.join(BACKENDS)}")
    if backend != BACKENDS[0] and "backend_url" not in given:
        raise SettingsError(f"{PREFIX}BACKEND={backend} needs {PREFIX}BACKEND_URL, where that server is")
    for key in ("debug", "fresh", "insecure_loopback"):
        if key in given:
            given[key] = "1" if given[key].lower() in {"1", "true", "yes"} else "0"
    given.setdefault("home", ".flytewheel")
    settings = _validate({**given, "cors_origins": _split_origins(given.get("cors_origins", ""))})
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def _validate(given: Mapping[str, Any]) -> Settings:
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        key = str(fault["loc"][0])
        raise SettingsError(f"{PREFIX}{key.upper()}={given[key]!r}: {fault['msg']}") from None


def _split_origins(text: str) -> tuple[str, ...]:
    """Origins as browsers send them: scheme and host, in lower case, no path."""
    origins = tuple(origin.strip().rstrip("/").lower() for origin in text.split(",") if origin.strip())
    for origin in origins:
        scheme, _, host = origin.partition("://")
        if scheme not in ("http", "https") or not host or set(host) & set("/*@ "):
            raise SettingsError(f"{PREFIX}CORS_ORIGINS={origin!r}: expected https://host[:port], no * and no path")
    return origins
