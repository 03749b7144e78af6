"""Settings: one prefix, read once, unknown names refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytewheel.errors import SettingsError
from flytewheel.settings import read_settings


def test_nothing_set_means_embedded() -> None:
    settings = read_settings({})
    assert settings.home == Path(".flytewheel").absolute()
    assert (settings.database_url, settings.s3_url, settings.router_url) == (None, None, None)


def test_the_bucket_may_stand_in_the_store_url() -> None:
    settings = read_settings({"FLYTEWHEEL_S3_URL": "https://store.example:9000/models"})
    assert (settings.s3_url, settings.s3_bucket) == ("https://store.example:9000", "models")


def test_database_url_is_read_when_ours_is_not_set() -> None:
    ours, theirs = "postgresql://a@127.0.0.1/x", "postgresql://b@127.0.0.1/y"
    assert read_settings({"DATABASE_URL": theirs}).database_url == theirs
    assert read_settings({"DATABASE_URL": theirs, "FLYTEWHEEL_DATABASE_URL": ours}).database_url == ours


def test_a_value_may_come_from_a_mounted_file(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("a secret\n", encoding="utf-8")
    settings = read_settings({"FLYTEWHEEL_ADMIN_KEY_FILE": str(secret)})
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "a secret"
    with pytest.raises(SettingsError, match=r"ADMIN_KEY_FILE='/none' cannot be read .* mount the secret there"):
        read_settings({"FLYTEWHEEL_ADMIN_KEY_FILE": "/none"})
    with pytest.raises(SettingsError, match="unknown setting FLYTEWHEEL_ADMIN_KYE"):
        read_settings({"FLYTEWHEEL_ADMIN_KYE_FILE": str(secret)})


@pytest.mark.parametrize(
    ("environ", "cause"),
    [
        ({"FLYTEWHEEL_S3_ULR": "http://x"}, "unknown setting FLYTEWHEEL_S3_ULR: known are .*FLYTEWHEEL_S3_URL"),
        ({"FLYTEWHEEL_S3_URL": "store:9000"}, "expected scheme://host"),
        ({"FLYTEWHEEL_ROUTER_URL": "http://"}, "expected scheme://host"),
        ({"FLYTEWHEEL_DATABASE_URL": "postgres://[bad"}, "expected scheme://host"),
        ({"FLYTEWHEEL_BACKEND": "sglang"}, "BACKEND='sglang': expected one of llama.cpp, ollama, vllm"),
        ({"FLYTEWHEEL_BACKEND": "ollama"}, "BACKEND=ollama needs FLYTEWHEEL_BACKEND_URL"),
        ({"FLYTEWHEEL_BACKEND_URL": "ollama:11434"}, "expected scheme://host"),
        ({"FLYTEWHEEL_LOG_TEXT": "some"}, "LOG_TEXT='some': expected one of full, redacted, none"),
        ({"FLYTEWHEEL_SPOOL_BYTES": "1 GiB"}, "SPOOL_BYTES='1 GiB': expected a number of bytes from 1048576"),
        ({"FLYTEWHEEL_SPOOL_BYTES": "-5"}, "SPOOL_BYTES='-5': expected a number of bytes"),
        ({"FLYTEWHEEL_RETENTION_DAYS": "0"}, "RETENTION_DAYS='0': expected a number of days above 0"),
        ({"FLYTEWHEEL_RETENTION_DAYS": "nan"}, "RETENTION_DAYS='nan': expected a number of days above 0"),
    ],
)
def test_a_wrong_setting_is_one_line(environ: dict[str, str], cause: str) -> None:
    with pytest.raises(SettingsError, match=cause) as caught:
        read_settings(environ)
    assert "\n" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    with pytest.raises(SettingsError, match="expected scheme://host") as caught:
        read_settings({"FLYTEWHEEL_BACKEND_URL": "ada:hush@ollama"})
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(read_settings({"FLYTEWHEEL_ADMIN_KEY": "hush"}))


@pytest.mark.parametrize(("given", "fresh"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_a_fresh_start_is_asked_for_by_a_word(given: str, fresh: bool) -> None:
    assert read_settings({"FLYTEWHEEL_FRESH": given}).fresh is fresh
