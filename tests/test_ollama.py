"""The client of Ollama's API against a server that checks every byte of it, and a real one where there is one."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import ExportError, FlytewheelError, ModelServerError
from flytewheel.modelfile import Modelfile, Value
from flytewheel.ollama import Ollama, check_model_name, create_model, find_differences, parse_parameters
from tests.conftest import find_real_server
from tests.router.spelling_model import CHAT_TEMPLATE, write_spelling_model
from tests.servers.loopback import running
from tests.servers.ollama import OllamaStandIn

TEMPLATE = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
PARAMETERS: dict[str, Value] = {
    "stop": ("<|im_end|>", 'a "b" \\ 你'),
    "num_ctx": 2048,
    "temperature": 0.6,
    "repeat_penalty": 1.0,
}
NAME = "flytewheel/demo:v1.202647.1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export: a model, its adapter, its Modelfile."""
    folder = tmp_path / "export"
    folder.mkdir()
    write_spelling_model(folder / "model-F16.gguf", "stable")
    (folder / "adapter.gguf").write_bytes(b"GGUF" + bytes(100))
    modelfile = Modelfile("model-F16.gguf", TEMPLATE, 'Say "hi".\nÜ', PARAMETERS)
    (folder / "Modelfile").write_text(modelfile.to_text(), encoding="utf-8")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OllamaStandIn]:
    (tmp_path / "blobs").mkdir()
    with running(OllamaStandIn(tmp_path / "blobs")) as server:
        yield server


@pytest.fixture
def client(server: OllamaStandIn) -> Iterator[Ollama]:
    with Ollama(server.url, timeout_s=20.0) as client:
        yield client


def test_a_model_is_made_of_the_folder_and_is_what_was_asked_for(
    client: Ollama, server: OllamaStandIn, folder: Path
) -> None:
    told: list[tuple[str, int, int | None]] = []
    shown = create_model(client, folder, NAME, progress=lambda *what: told.append(what))
    assert server.faults == []
    model = server.models[NAME]
    assert model["template"] == TEMPLATE
    assert model["system"] == 'Say "hi".\nÜ'
    assert model["parameters"] == {"stop": ["<|im_end|>", 'a "b" \\ 你'], **dict(list(PARAMETERS.items())[1:])}
    digest = hashlib.sha256((folder / "model-F16.gguf").read_bytes()).hexdigest()
    assert model["files"] == [f"sha256:{digest}"]
    assert server.blobs[f"sha256:{digest}"].read_bytes() == (folder / "model-F16.gguf").read_bytes()
    assert shown["details"]["format"] == "gguf"
    size = -(-(folder / "model-F16.gguf").stat().st_size // (1 << 20))
    assert ("send model-F16.gguf, MiB", size, size) in told
    assert [what for what, *_ in told if what.startswith("create")] == [
        f"create {NAME}: {status}" for status in ("parsing GGUF", "writing manifest", "success")
    ]


def test_what_is_there_already_is_neither_sent_nor_made_again(
    client: Ollama, server: OllamaStandIn, folder: Path
) -> None:
    create_model(client, folder, NAME)
    server.seen.clear()
    create_model(client, folder, NAME)
    assert server.seen == [("POST", "/api/show")]
    server.models[NAME]["parameters"]["temperature"] = 0.9  # somebody changed it
    create_model(client, folder, NAME)
    assert server.models[NAME]["parameters"]["temperature"] == 0.6
    assert [method for method, path in server.seen if "blobs" in path] == ["HEAD"]


def test_an_adapter_goes_along_as_gguf(client: Ollama, server: OllamaStandIn, folder: Path) -> None:
    create_model(client, folder, NAME, modelfile=Modelfile("model-F16.gguf", TEMPLATE, adapters=("adapter.gguf",)))
    digest = hashlib.sha256((folder / "adapter.gguf").read_bytes()).hexdigest()
    assert server.models[NAME]["adapters"] == [f"sha256:{digest}"]
    assert server.faults == []


def test_models_are_loaded_listed_unloaded_and_deleted(client: Ollama, server: OllamaStandIn, folder: Path) -> None:
    create_model(client, folder, NAME)
    assert (client.version(), client.list_models(), client.list_running()) == ("0.30.1", [NAME], [])
    client.load(NAME)
    assert client.list_running() == [NAME]
    client.unload(NAME)
    client.unload(NAME)  # nothing to do
    assert client.list_running() == []
    assert (client.delete(NAME), client.delete(NAME), client.list_models()) == (True, False, [])
    assert client.show(NAME) is None
    assert server.faults == []


def test_a_large_file_is_sent_by_pieces(client: Ollama, server: OllamaStandIn, tmp_path: Path) -> None:
    data = random.Random(3).randbytes((5 << 20) + 17)
    file, digest = tmp_path / "large.gguf", hashlib.sha256(data).hexdigest()
    file.write_bytes(data)
    told: list[int] = []
    assert client.bring_blob(file, digest, lambda what, done, total: told.append(done)) is True
    assert told == [1, 2, 3, 4, 5, 6]
    assert client.bring_blob(file, digest) is False
    assert server.blobs[f"sha256:{digest}"].read_bytes() == data


def test_a_file_that_is_not_what_its_digest_says_is_refused(
    client: Ollama, server: OllamaStandIn, tmp_path: Path
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF other")
    with pytest.raises(ModelServerError, match=r"model.gguf is not the file with digest 0000.*digest mismatch"):
        client.bring_blob(file, "0" * 64)
    assert server.blobs == {}


STATUS = {"status": "parsing GGUF"}


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ([STATUS, {"error": "no space left\non device"}], r"did not create .*: no space left on device"),
        ([{"error": "invalid model name", "status": 400}], "did not create .*: invalid model name"),
        ([STATUS, "drop"], "broke off /api/create"),
        ([STATUS, "end"], "broke off creating .* after 'parsing GGUF'"),
        (["end"], "broke off creating .* after 'nothing'"),
        ([STATUS, "<html>"], "answers /api/create with '<html>', not with JSON"),
        ([STATUS, "[]"], "not with JSON"),
    ],
)
def test_an_error_inside_the_stream_is_an_error(
    client: Ollama, server: OllamaStandIn, folder: Path, statuses: list[Any], said: str
) -> None:
    server.statuses = statuses
    with pytest.raises(ModelServerError, match=said) as raised:
        create_model(client, folder, NAME)
    assert "\n" not in str(raised.value)
    assert NAME not in server.models
    server.statuses = []
    create_model(client, folder, NAME)  # and the next try is a whole one


@pytest.mark.parametrize(
    ("step", "what", "said"),
    [
        ("POST /api/show", (500, {"error": "oops"}), r"refused /api/show \(500\): oops"),
        ("POST /api/show", "drop", "broke off /api/show"),
        ("HEAD /api/blobs", (500, None), "refused HEAD /api/blobs"),
        ("HEAD /api/blobs", "drop", "broke off /api/blobs"),
        ("POST /api/blobs", (500, {"error": "disk full"}), r"refused POST /api/blobs/.* \(500\): disk full"),
        ("POST /api/blobs", "drop", "broke off /api/blobs"),
        ("POST /api/create", (503, "busy"), r"refused POST /api/create \(503\): busy"),
        ("POST /api/create", "drop", "broke off /api/create"),
        ("POST /api/create", (403, {"error": "no"}), "refuses the key"),
        ("POST /api/show", (200, "<html>hello"), "that is no Ollama"),
        ("POST /api/show", (200, []), "that is no Ollama"),
    ],
)
def test_each_step_can_fail_and_says_so_in_one_line(
    client: Ollama, server: OllamaStandIn, folder: Path, step: str, what: Any, said: str
) -> None:
    server.plan[step] = what
    with pytest.raises(ModelServerError, match=said) as raised:
        create_model(client, folder, NAME)
    assert "\n" not in str(raised.value)
    assert server.faults == []
    server.plan.clear()
    create_model(client, folder, NAME)


@pytest.mark.parametrize("step", ["POST /api/show", "HEAD /api/blobs", "POST /api/create"])
def test_a_server_that_hangs_is_given_up(server: OllamaStandIn, folder: Path, step: str) -> None:
    server.plan[step] = "hang"
    with (
        Ollama(server.url, timeout_s=0.2) as client,
        pytest.raises(ModelServerError, match=r"does not answer .* in time"),
    ):
        create_model(client, folder, NAME)


def test_a_connection_that_is_cut_while_a_file_is_sent(client: Ollama, server: OllamaStandIn, folder: Path) -> None:
    server.plan["cut blob"] = True
    with pytest.raises(ModelServerError, match="broke off /api/blobs"):
        create_model(client, folder, NAME)
    assert server.blobs == {}
    del server.plan["cut blob"]
    create_model(client, folder, NAME)
    assert server.faults == []


def test_an_old_server_is_told_apart(tmp_path: Path, folder: Path) -> None:
    said = r"required: it speaks the create protocol from before 0\.5\.5"
    with (
        running(OllamaStandIn(tmp_path, old=True)) as server,
        Ollama(server.url) as client,
        pytest.raises(ModelServerError, match=said),
    ):
        create_model(client, folder, NAME)


def test_a_server_that_takes_no_adapters_any_more(tmp_path: Path, folder: Path) -> None:
    modelfile = Modelfile("model-F16.gguf", adapters=("adapter.gguf",))
    with (
        running(OllamaStandIn(tmp_path, no_adapters=True)) as server,
        Ollama(server.url) as client,
        pytest.raises(ModelServerError, match="takes no LoRA adapters any more; export the merged file"),
    ):
        create_model(client, folder, NAME, modelfile=modelfile)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"template": "{{ .Prompt }}"}, "its template is another one"),
        ({"system": ""}, "its system text is another one"),
        ({"parameters": {}}, r"its stop is None, not \('<|im_end|>'"),
        ({"parameters": {"stop": ["x"], "num_ctx": 4096}}, "its num_ctx is 4096, not 2048"),
        ({"files": ["sha256:" + "1" * 64]}, "its file is 111111111111…, not "),
    ],
)
def test_a_server_that_makes_something_else_of_it_is_found_out(
    client: Ollama, server: OllamaStandIn, folder: Path, change: dict[str, Any], said: str
) -> None:
    server.changes = lambda model: model.update(change)
    with pytest.raises(ModelServerError, match=f"made something else of {NAME}: .*{said}"):
        create_model(client, folder, NAME)


def test_a_server_that_shows_the_ggufs_own_template_is_right_too(tmp_path: Path, folder: Path) -> None:
    """Newer Ollama takes the template in the GGUF where it can do more; here it is of the same kind."""
    with running(OllamaStandIn(tmp_path, native=True)) as server, Ollama(server.url) as client:
        assert create_model(client, folder, NAME)["template"] == CHAT_TEMPLATE


@pytest.mark.parametrize("url", ["http://ada:p%40ss@{}", "http://{}"])
def test_a_key_is_sent_and_never_said(tmp_path: Path, folder: Path, url: str) -> None:
    basic = "Basic YWRhOnBAc3M="
    with running(OllamaStandIn(tmp_path, key=basic if "@" in url else "Bearer k-1")) as server:
        where = url.format(server.url.removeprefix("http://"))
        with Ollama(where, key=None if "@" in url else "k-1") as client:
            create_model(client, folder, NAME)
            assert client.headers() == {"authorization": basic if "@" in url else "Bearer k-1"}
            assert "ss@" not in client.url
        wrong = Ollama(where.replace("p%40ss", "wrong"), key=None if "@" in url else "k-2")
        with wrong as other, pytest.raises(ModelServerError, match=r"refuses the key \(401") as raised:
            create_model(other, folder, NAME)
        assert "wrong" not in str(raised.value)
        assert "k-2" not in str(raised.value)


@pytest.mark.parametrize("url", ["", "ollama:11434", "ftp://host", "http://", "http://[::1", "http://u:secret@"])
def test_an_address_that_is_none_is_said_without_its_password(url: str) -> None:
    with pytest.raises(ModelServerError, match=r"expected http\(s\)://host") as raised:
        Ollama(url)
    assert "secret" not in str(raised.value)


def test_nobody_listens(folder: Path) -> None:
    with Ollama("http://127.0.0.1:9") as client, pytest.raises(ModelServerError, match="is not reachable"):
        create_model(client, folder, NAME)


@pytest.mark.parametrize("name", ["", "a b", "a@b", "x/y/z:1", "-a", "a:", "a" * 81, "Ü", "a/b.c/d"])
def test_a_name_that_ollama_would_not_take_is_refused_before_anything_is_sent(
    client: Ollama, server: OllamaStandIn, folder: Path, name: str
) -> None:
    with pytest.raises(ModelServerError, match="takes no model name"):
        create_model(client, folder, name)
    assert server.seen == []


def test_a_folder_that_is_no_export(client: Ollama, server: OllamaStandIn, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there is no Modelfile in"):
        create_model(client, tmp_path, NAME)
    (folder / "model-F16.gguf").unlink()
    with pytest.raises(ExportError, match=r"names model-F16\.gguf, which is not there"):
        create_model(client, folder, NAME)
    (folder / "Modelfile").write_bytes(b"\xff\xfe")
    with pytest.raises(ExportError, match="is no text"):
        create_model(client, folder, NAME)
    assert server.seen == []


def test_parameters_are_read_as_go_writes_them() -> None:
    text = 'num_ctx                        8192\nstop                           "</s>"\n' + (
        'stop                           "a \\"b\\" 你"\ntemperature                    0.6\nseed   1e+06\nuse_mmap true'
    )
    assert parse_parameters(text) == {
        "num_ctx": 8192,
        "stop": ("</s>", 'a "b" 你'),
        "temperature": 0.6,
        "seed": 1e6,
        "use_mmap": True,
    }
    assert parse_parameters("") == {}


def test_names() -> None:
    for name in ("demo", "demo:v1.202647.1", "flytewheel/on_call-2.x:latest", "a" * 80):
        check_model_name(name)


def test_against_a_real_ollama(folder: Path) -> None:
    """`REAL_OLLAMA_URL=http://127.0.0.1:11434 pytest tests/test_ollama.py`; leaves nothing behind there."""
    url = find_real_server("REAL_OLLAMA_URL")
    name = f"flytewheel-test/{uuid.uuid4().hex[:8]}:latest"
    with Ollama(url) as client:
        try:
            create_model(client, folder, name)
            assert name in client.list_models()
            client.load(name)
            body = {"model": name, "messages": [{"role": "user", "content": "Which word?"}], "temperature": 0}
            answer = client.ask("POST", "/v1/chat/completions", body | {"max_tokens": 16}).json()
            assert answer["choices"][0]["message"]["content"] == "stable"
            client.unload(name)
            assert name not in client.list_running()
        finally:
            assert client.delete(name)


def test_an_error_is_one_of_ours() -> None:
    assert issubclass(ModelServerError, FlytewheelError)
    shown = {"details": {"format": "safetensors"}}
    found = find_differences(shown, Modelfile("m.gguf"), {"m.gguf": "0" * 64}, Path())
    assert found == ["its format is safetensors"]
