from __future__ import annotations

import base64
import io
import json
import logging
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.api_keys import new_secret
from flytewheel.settings import read_settings
from router.access.callers import PLACE, Caller
from router.loglines import BLANK, INTERACTION, REQUEST, Blanks, Lines, secrets_of
from tests.router.live import ROOT

SECRET = 'pä"ss/wo rd\\+=&'


def line(form: str, message: str, *arguments: object, error: BaseException | None = None) -> str:
    record = logging.LogRecord("router.x", logging.WARNING, "x.py", 1, message, arguments, None)
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    return Lines(form, Blanks([SECRET])).format(record)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.urlencode({"q": SECRET}),
        json.dumps({"key": SECRET}),
        repr([SECRET]),
        base64.b64encode(SECRET.encode()).decode(),
        "Authorization: Basic " + base64.b64encode(f"a:{SECRET}".encode()).decode(),
        "Authorization: Basic " + base64.b64encode(f"ab:{SECRET}:c".encode()).decode(),
    ],
)
def test_a_known_secret_goes_in_every_form(form: str, spelled: str) -> None:
    said = line(form, "it was %s here", spelled)
    assert BLANK in said
    assert "wo rd" not in said
    assert "wo%20rd" not in said
    core = base64.b64encode(SECRET.encode())[3:9].decode()
    assert core not in said


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=8, max_size=30), st.binary(max_size=5)
)
def test_a_secret_within_base64_is_found_wherever_it_begins(secret: str, before: bytes) -> None:
    coded = base64.b64encode(before + secret.encode() + b"tail").decode()
    left = Blanks([secret]).blank(f"got {coded} here")
    assert coded not in left
    assert len(left) < len(f"got {coded} here") or BLANK in left


@pytest.mark.parametrize(
    "text",
    [
        f"key {new_secret()} refused",
        f"cut {new_secret()[:-2]}",
        "Authorization: Bearer s3cr3t-of-elsewhere",
        "[(b'authorization', b'bearer s3cr3t-of-elsewhere')]",
        "postgresql://flytewheel:s3cr3t-of-elsewhere@127.0.0.1:5432/x",
        "http://:s3cr3t-of-elsewhere@host/",
        "host=a password=s3cr3t-of-elsewhere dbname=b",
        "cookie: a=b; flytewheel_unit=s3cr3t-of-elsewhere; c=d",
    ],
    ids=range(8),
)
def test_unknown_secrets_go_by_their_form(text: str) -> None:
    said = line("text", "%s", text)
    assert BLANK in said
    assert "s3cr3t" not in said
    assert "fw_" not in said


def test_a_traceback_has_none_either() -> None:
    try:
        raise ValueError(f"cannot reach postgresql://me:{'pw' * 9}@db/x with {SECRET}")
    except ValueError as error:
        for form in ("text", "json"):
            said = line(form, "failed", error=error)
            assert "ValueError" in said
            assert "pwpw" not in said
            assert "wo rd" not in said


def test_a_line_names_interaction_and_key_and_is_one_line() -> None:
    token = REQUEST.set({PLACE: Caller("key_1", "key_1"), INTERACTION: "abc"})
    try:
        forged = "user\n2026-01-01 CRITICAL all is lost\x1b[2J\u2028"
        text, found = line("text", "said %s", forged), json.loads(line("json", "said %s", forged))
    finally:
        REQUEST.reset(token)
    assert text.count("\n") == 0
    assert "\x1b" not in text
    assert text.endswith("(interaction=abc key=key_1)")
    assert found["interaction"] == "abc"
    assert found["key"] == "key_1"
    assert found["level"] == "warning"
    assert found["message"] == f"said {forged}"
    assert found["time"].endswith("+00:00")


def test_all_secrets_of_the_settings_are_known(tmp_path: Path) -> None:
    settings = read_settings(
        {
            "FLYTEWHEEL_HOME": str(tmp_path),
            "FLYTEWHEEL_DATABASE_URL": "postgresql://me:data%2Fbase@h/d",
            "FLYTEWHEEL_S3_URL": "http://h",
            "FLYTEWHEEL_S3_SECRET_KEY": "s3-secret",
            "FLYTEWHEEL_ADMIN_KEY": "the-admin",
            "FLYTEWHEEL_BACKEND": "ollama",
            "FLYTEWHEEL_BACKEND_URL": "http://u:behind-it@h:1",
        }
    )
    assert set(secrets_of(settings)) == {"data%2Fbase", "data/base", "s3-secret", "the-admin", "behind-it"}


def test_what_nobody_caught_is_a_line_too() -> None:
    program = (
        "import threading, warnings; from flytewheel.settings import read_settings;"
        "from router.loglines import set_up_logging;"
        "set_up_logging(read_settings({'FLYTEWHEEL_ADMIN_KEY': 'the-admin-key', 'FLYTEWHEEL_LOG_FORMAT': 'json'}));"
        "warnings.warn('the-admin-key is old');"
        "t = threading.Thread(target=lambda: 1 / int('the-admin-key')); t.start(); t.join();"
        "raise ValueError('the-admin-key')"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT, env={})
    lines = [json.loads(each) for each in io.StringIO(run.stderr)]
    assert [each["level"] for each in lines] == ["warning", "error", "critical"]
    assert "the-admin-key" not in run.stderr
    assert run.returncode == 1
