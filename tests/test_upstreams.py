"""The form of a version that is served elsewhere: what is refused, and that a secret stays out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import ModelServerError
from flytewheel.upstreams import Upstream, read_upstream, write_upstream

GOOD: dict[str, Any] = {"url": "https://api.example.com/v1", "model": "example-large"}


def read(folder: Path, form: Any, name: str = "form.json") -> Upstream:
    path = folder / name
    path.write_text(form if isinstance(form, str) else json.dumps(form))
    return read_upstream(path)


def test_yaml_and_json_say_the_same_and_what_is_written_is_read(tmp_path: Path) -> None:
    text = "url: https://api.example.com/v1/\nmodel: example-large\nheaders: {x-project: oncall}\nallow: [10.1.0.0/16]"
    found = read(tmp_path, text, "form.yaml")
    assert found == read(tmp_path, json.loads(found.model_dump_json()))
    assert (found.root, found.paths) == ("https://api.example.com", ("/v1/chat/completions",))
    write_upstream(found, tmp_path / "upstream.json")
    assert read_upstream(tmp_path / "upstream.json") == found


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"url": "ftp://x/v1"}, r"url: expected http\(s\)://"),
        ({"url": "https://[::1/v1"}, r"url: expected http\(s\)://"),
        ({"url": "https://x:99999/v1"}, r"url: expected http\(s\)://"),
        ({"url": "https://api.example.com"}, "ends in /v1"),
        ({"url": "https://api.example.com/v1\r\nx: y/v1"}, r"url: expected http\(s\)://"),
        ({"url": "https://ada:hush@api.example.com/v1"}, "no user, password"),
        ({"url": "https://api.example.com/v1?key=hush"}, "no user, password"),
        ({"url": "http://api.example.com/v1"}, "without TLS"),
        ({"model": ""}, "model: "),
        ({"modle": "x"}, "modle: Extra inputs"),
        ({"api_key_env": "FLYTEWHEEL_ADMIN_KEY"}, "not flytewheel's own"),
        ({"api_key_env": "DATABASE_URL"}, "not flytewheel's own"),
        ({"api_key_env": "A B"}, "not flytewheel's own"),
        ({"api_key_header": "content-length"}, "header that a key"),
        ({"headers": {"Authorization": "Bearer hush"}}, "secrets go into api_key_env"),
        ({"headers": {"x-api-key": "hush"}}, "secrets go into api_key_env"),
        ({"headers": {"host": "other"}}, "no header that can be given"),
        ({"headers": {"x y": "1"}}, "no header that can be given"),
        ({"headers": {"x": "a\r\nb: c"}}, "cannot be sent in a header"),
        ({"allow": ["10.0.0.1/8"]}, "expected networks"),
        ({"endpoints": ["images"]}, "endpoints"),
        ({"endpoints": []}, "endpoints"),
        ({"warm_up": "yes"}, "warm_up"),
    ],
)
def test_a_wrong_form_is_one_line(tmp_path: Path, change: dict[str, Any], cause: str) -> None:
    with pytest.raises(ModelServerError, match=cause) as caught:
        read(tmp_path, GOOD | change)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "x" * 70_000, "\x00", "!!python/object:os.system {}", "[" * 50_000])
def test_what_is_no_form_is_said(tmp_path: Path, text: str) -> None:
    for name in ("form.json", "form.yaml"):
        with pytest.raises(ModelServerError):
            read(tmp_path, text, name)


def test_the_key_comes_from_the_environment_only(tmp_path: Path) -> None:
    form = read(tmp_path, GOOD | {"api_key_env": "EXAMPLE_KEY", "headers": {"x-project": "oncall"}})
    assert form.list_headers({"EXAMPLE_KEY": "k-1\n"}) == {"x-project": "oncall", "authorization": "Bearer k-1"}
    other = form.model_copy(update={"api_key_header": "api-key"})
    assert other.list_headers({"EXAMPLE_KEY": "k-1"})["api-key"] == "k-1"
    assert read(tmp_path, GOOD).list_headers({}) == {}
    for environ, cause in (({}, "is not set"), ({"EXAMPLE_KEY": "a\r\nb"}, "cannot be sent")):
        with pytest.raises(ModelServerError, match=rf"its key in \$EXAMPLE_KEY {cause}"):
            form.list_headers(environ)
