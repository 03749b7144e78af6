"""The tier for names: a small spaCy pipeline on disk, and an endpoint on loopback that fails as endpoints do."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flytewheel.errors import EndpointError, RecipeError
from flytewheel.pii import redact_conversation, redact_conversations
from flytewheel.pii.names import open_names
from flytewheel.recipe import EndpointSpec, NamesSpec

NAMES = re.compile("Ann Lee|Bob")


class _Endpoint(BaseHTTPRequestHandler):
    """Answers as `server.mode` says and keeps what it was asked."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.headers.get("Authorization"), body))  # type: ignore[attr-defined]
        fails = self.server.fails  # type: ignore[attr-defined]
        status = fails.pop(0) if fails else 200
        spans = [[found.span() for found in NAMES.finditer(text)] for text in body["texts"]]
        answer = {"ok": {"spans": spans}, "short": {"spans": spans[1:]}, "form": {"names": spans}}
        raw = json.dumps(answer[self.server.mode]).encode()  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint) as running:
        running.asked, running.fails, running.mode = [], [], "ok"  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _spec(server: ThreadingHTTPServer, key: str | None = None) -> NamesSpec:
    url = f"http://127.0.0.1:{server.server_address[1]}/names"
    return NamesSpec(endpoint=EndpointSpec(url=url, api_key_env=key, timeout_s=5, model="ner"))


def test_an_endpoints_names_are_numbered_in_the_conversation(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAMES_KEY", "k-1")
    server.fails += [503, 429]  # type: ignore[attr-defined]
    waits: list[float] = []
    names = open_names(_spec(server, "NAMES_KEY"), sleep=waits.append)
    texts = ["Ann Lee and Bob at ann@example.com", "Bob: ask ANN LEE, no, Ann Lee", "nothing"]
    (clean, counts), (other, _) = redact_conversations([texts, ["Bob <NAME_4>"]], names=names)
    assert clean == ["<NAME_1> and <NAME_2> at <EMAIL_1>", "<NAME_2>: ask ANN LEE, no, <NAME_1>", "nothing"]
    assert counts == {"NAME": 2, "EMAIL": 1}
    assert other == ["<NAME_5> <NAME_4>"]
    assert waits == [0.5, 1.0]
    assert {key for key, _ in server.asked} == {"Bearer k-1"}  # type: ignore[attr-defined]
    assert server.asked[-1][1]["model"] == "ner"  # type: ignore[attr-defined]
    assert "ann@example.com" not in json.dumps([body for _, body in server.asked])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("mode", "fails", "says"),
    [
        ("ok", [500] * 9, "HTTP 500"),
        ("ok", [401], "HTTP 401"),
        ("short", [], "lists of spans"),
        ("form", [], "another form"),
    ],
)
def test_an_endpoint_that_fails_is_one_line(
    server: ThreadingHTTPServer, mode: str, fails: list[int], says: str
) -> None:
    server.mode, server.fails = mode, fails  # type: ignore[attr-defined]
    names = open_names(_spec(server), sleep=lambda _: None)
    with pytest.raises(EndpointError, match=says) as caught:
        names(["Ann Lee came", "Bob"])
    assert "\n" not in str(caught.value)
    assert "Ann" not in str(caught.value)


def test_an_endpoint_that_is_away_is_one_line() -> None:
    spec = NamesSpec(endpoint=EndpointSpec(url="http://127.0.0.1:9/names", timeout_s=1))
    with pytest.raises(EndpointError, match="ConnectError"):
        open_names(spec, sleep=lambda _: None)(["Ann"])


def test_a_key_that_is_not_there_is_said_at_once(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAMES_KEY", raising=False)
    with pytest.raises(RecipeError, match="NAMES_KEY is not in the environment"):
        open_names(_spec(server, "NAMES_KEY"))


@pytest.mark.filterwarnings("ignore")
def test_a_spacy_model_in_a_folder(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed: pip install spacy")
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "Ann Lee"}, {"label": "ORG", "pattern": "Acme"}])
    pipeline.to_disk(tmp_path / "names")
    names = open_names(NamesSpec(spacy_model=str(tmp_path / "names")))
    assert names(["Ann Lee of Acme", "nobody"]) == [[(0, 7)], []]
    texts = ["Ann Lee of Acme pays with 4111 1111 1111 1111", "thanks, Ann Lee"]
    assert redact_conversations([texts], names=names)[0][0] == [
        "<NAME_1> of Acme pays with <CARD_1>",
        "thanks, <NAME_1>",
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_is_not_installed_is_one_line() -> None:
    pytest.importorskip("spacy", reason="spaCy is not installed: pip install spacy")
    with pytest.raises(RecipeError, match="python -m spacy download no_such_model") as caught:
        open_names(NamesSpec(spacy_model="no_such_model"))
    assert "\n" not in str(caught.value)


def test_without_names_the_batch_is_the_rules() -> None:
    texts = ["Ann Lee, ann@example.com"]
    assert redact_conversations([texts]) == [redact_conversation(texts)]
