"""Where the services are: environment variables with the prefix ``FLYTEWHEEL_``, read once, at the edge.

A recipe says *what* to do and travels with a run; settings say *where* and stay with the machine. Nothing below the
command line, the task files and the router's start reads the environment. Each may come from a file instead, as a
mounted secret does: `FLYTEWHEEL_DATABASE_URL_FILE=/run/secrets/database_url`.

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
| `FLYTEWHEEL_USER_TIERS` | values of `user_tier` that metrics know, with commas; others are `other` | none |
| `FLYTEWHEEL_CORS_ORIGINS` | origins of web pages that may chat and react, with commas, `https://host[:port]` | none |
| `FLYTEWHEEL_BODY_LIMIT` | bytes of a request's body; chats may be five times as large, for images | `4194304` |
| `FLYTEWHEEL_INSECURE_LOOPBACK` | `1`: a router on loopback lets callers without a key chat, react and read | – |
| `FLYTEWHEEL_LOG_FORMAT` | lines of the router's log: `text` or `json` | `text` |
| `FLYTEWHEEL_ACCESS_LOG` | 1: the router's log has a line of JSON for each request, without queries or bodies | 0 |
| `FLYTEWHEEL_ASSIGNMENT_KEY` | secret of the sticky assignment and of receipts | made at the first start |
| `FLYTEWHEEL_SIGNING_KEY` | private P-256 key that signs versions: a path, or the PEM itself | made at first start |
| `FLYTEWHEEL_SIGNING_KEY_PASSWORD` | of an encrypted one | – |
| `FLYTEWHEEL_TRUSTED_KEYS` | public keys that are believed: paths of files or folders, or PEM | this machine's |
| `FLYTEWHEEL_ERASURE_KEY` | secret that erased people are known by, one for a database | `HOME/erasure.key` |
| `FLYTEWHEEL_BACKEND` | what answers behind the router: `llama.cpp`, `ollama` or `vllm` | `llama.cpp` |
| `FLYTEWHEEL_BACKEND_URL` | where that Ollama or vLLM is, `http(s)://[user:password@]host[:port]` | – |
| `FLYTEWHEEL_BACKEND_KEY` | its key, sent as a Bearer token | – |
| `FLYTEWHEEL_BACKEND_FOLDER` | where vLLM's machine sees `HOME/models` | the same path |
| `FLYTEWHEEL_LOG_TEXT` | what the router keeps of texts: `full`, `redacted` or `none` | `full` |
| `FLYTEWHEEL_SPOOL_BYTES` | room for what waits under `HOME/spool` while PostgreSQL is away | 1 GiB |
| `FLYTEWHEEL_RETENTION_DAYS` | older interactions and their feedback are deleted once a day | kept |
| `FLYTEWHEEL_WORKERS` | processes that answer, beside the router's keeper (`flytewheel up --workers`) | 1 |
| `FLYTEWHEEL_DRAIN_S` | seconds that running answers have when the router is told to end | 30 |
| `FLYTEWHEEL_DRAIN_NOTICE_S` | seconds before, in which `/readyz` says 503 already | 0.1 |
| `FLYTEWHEEL_CONTROL_ONLY_AFTER_S` | seconds without the database after which nobody meets a treatment | 600 |
| `FLYTEWHEEL_TLS_CERTIFICATE`, `FLYTEWHEEL_TLS_KEY` | PEM files for `python -m router` to serve HTTPS by | – |
| `FLYTEWHEEL_BACKEND_MODE` | `merged`: a llama.cpp process for each version; `adapters`: one for each base | `merged` |
| `FLYTEWHEEL_BACKEND_ALLOW` | networks beside the public ones that backends may be in, with commas; `loopback` | – |
| `FLYTEWHEEL_BACKEND_CA` | PEM file of authorities that prove `https://` backends, beside the system's | – |
| `FLYTEWHEEL_BACKEND_CONNECT_S` | seconds to connect to one | 5 |
| `FLYTEWHEEL_BACKEND_FIRST_TOKEN_S`, `FLYTEWHEEL_BACKEND_CHUNK_S` | to a stream's beginning, and between chunks | 60 |
| `FLYTEWHEEL_BACKEND_ANSWER_S` | for a whole answer | 600 |
| `FLYTEWHEEL_BACKEND_QUEUE_S` | a first token later than this means: too many requests run there | 10 |
| `FLYTEWHEEL_BACKEND_SPARES` | previous champions that stay loaded, for a rollback at once | 1 |
| `FLYTEWHEEL_IMAGE_REGISTRY` | container registry of the tasks' images, read when these are built | `localhost:30000` |
| `FLYTEWHEEL_RECIPE` | recipe of the scheduled launch plans, read at registration | `recipes/laptop.yaml` |
| `FLYTEWHEEL_DOMAIN` | settings of the tasks on a cluster, read at registration (`images/domains/`) | the execution's |
| `FLYTEWHEEL_SLACK_WEBHOOK` | an incoming webhook that hears of turns, releases and alarms; the URL is a secret | – |
| `FLYTEWHEEL_PAGERDUTY_KEY` | routing key of a PagerDuty service (Events API v2) that hears of failures | – |
| `FLYTEWHEEL_PAGERDUTY_URL` | another address of that API | PagerDuty's own |
| `FLYTEWHEEL_SMTP_URL` | a mail server, `smtp(s)://[user:password@]host[:port]`, for messages and summaries | – |
| `FLYTEWHEEL_MAIL_FROM` | their sender | `flytewheel@localhost` |
| `FLYTEWHEEL_MAIL_TO` | who gets them where a recipe names nobody, with commas | – |
| `FLYTEWHEEL_FRESH` | `1`: trainings begin anew; unfinished ones are set aside (`flytewheel run --fresh`) | – |
| `FLYTEWHEEL_DEBUG` | `1` shows the whole trace of an error | – |
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from flytewheel.errors import SettingsError

PREFIX = "FLYTEWHEEL_"
BACKENDS = ("llama.cpp", "ollama", "vllm")
LOG_TEXTS = ("full", "redacted", "none")
_LEAST_SPOOL = 1 << 20  # bytes
BACKEND_MODES = ("merged", "adapters")


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
    user_tiers: tuple[str, ...] = ()
    body_limit: int = Field(default=4 << 20, ge=1 << 10, le=1 << 30)
    insecure_loopback: bool = False
    log_format: Literal["text", "json"] = "text"
    access_log: bool = False
    signing_key: SecretStr | None = None
    signing_key_password: SecretStr | None = None
    trusted_keys: str | None = None
    erasure_key: SecretStr | None = None
    backend: str = "llama.cpp"
    backend_url: str | None = None
    backend_key: SecretStr | None = None
    backend_folder: str | None = None
    log_text: str = "full"
    spool_bytes: int = 1 << 30
    retention_days: float | None = None
    workers: int | None = Field(default=None, ge=1, le=64)
    drain_s: float = Field(default=30.0, ge=0, le=3600)
    drain_notice_s: float = Field(default=0.1, ge=0, le=600)
    control_only_after_s: float = Field(default=600.0, ge=1, le=86400)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    backend_mode: str = "merged"
    backend_allow: str = ""
    backend_ca: Path | None = None
    backend_connect_s: float = 5.0
    backend_first_token_s: float = 60.0
    backend_chunk_s: float = 60.0
    backend_answer_s: float = 600.0
    backend_queue_s: float = 10.0
    backend_spares: int = 1
    image_registry: str | None = None
    recipe: Path | None = None
    domain: str | None = None
    slack_webhook: SecretStr | None = None
    pagerduty_key: SecretStr | None = None
    pagerduty_url: str = "https://events.pagerduty.com/v2/enqueue"
    smtp_url: SecretStr | None = None
    mail_from: str | None = None
    mail_to: tuple[str, ...] = ()
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
    for key in [key for key in given if key.endswith("_file") and key not in Settings.model_fields]:
        given.setdefault(key.removesuffix("_file"), _read_mounted(key, given.pop(key)))
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
    _check_log(given)
    if given.get("backend_mode", BACKEND_MODES[0]) not in BACKEND_MODES:
        raise SettingsError(
            f"{PREFIX}BACKEND_MODE={given['backend_mode']!r}: expected one of {', '.join(BACKEND_MODES)}"
        )
    for key in ("backend_connect_s", "backend_first_token_s", "backend_chunk_s", "backend_answer_s", "backend_queue_s"):
        _check_number(given, key, r"\d{1,6}(\.\d{1,6})?", "a number of seconds above 0", above=0.0)
    _check_number(given, "backend_spares", r"\d{1,4}", "a whole number")
    for key in ("access_log", "debug", "fresh", "insecure_loopback"):
        if key in given:
            given[key] = "1" if given[key].lower() in {"1", "true", "yes"} else "0"
    given.setdefault("home", ".flytewheel")
    settings = _validate(
        {
            **given,
            "cors_origins": _split_origins(given.get("cors_origins", "")),
            "mail_to": tuple(one.strip() for one in given.get("mail_to", "").split(",") if one.strip()),
            "user_tiers": tuple(given.get("user_tiers", "").replace(",", " ").split()),
        }
    )
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def _read_mounted(key: str, path: str) -> str:
    """The value that a file holds, as containers are given secrets."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{PREFIX}{key.upper()}={path!r} cannot be read ({error}); mount the secret there"
        ) from None


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


def _check_log(given: Mapping[str, str]) -> None:
    text = given.get("log_text", LOG_TEXTS[0])
    if text not in LOG_TEXTS:
        raise SettingsError(f"{PREFIX}LOG_TEXT={text!r}: expected one of {', '.join(LOG_TEXTS)}")
    room = given.get("spool_bytes", str(_LEAST_SPOOL))
    if not (room.isascii() and room.isdigit() and int(room) >= _LEAST_SPOOL):
        raise SettingsError(f"{PREFIX}SPOOL_BYTES={room!r}: expected a number of bytes from {_LEAST_SPOOL} (1 MiB) up")
    days = given.get("retention_days", "1")
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,4})?", days) or not float(days) > 0:
        raise SettingsError(f"{PREFIX}RETENTION_DAYS={days!r}: expected a number of days above 0; unset it to keep all")


def _check_number(given: Mapping[str, str], key: str, form: str, expected: str, *, above: float = -1.0) -> None:
    if key in given and not (re.fullmatch(form, given[key], re.ASCII) and float(given[key]) > above):
        raise SettingsError(f"{PREFIX}{key.upper()}={given[key]!r}: expected {expected}")
