from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx

from tests.router.live import ROOT
from tests.router.spelling_model import write_spelling_model


def start(model: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flytewheel.llama_server", "--model", str(model), "--alias", "spelt"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_it_says_where_it_serves_and_ends_with_its_parent(tmp_path: Path) -> None:
    with start(write_spelling_model(tmp_path / "model.gguf", "stable")) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        said = json.loads(process.stdout.readline())
        assert said["pid"] == process.pid
        assert said["url"].startswith("http://127.0.0.1:")
        body = {"messages": [{"role": "user", "content": "?"}], "temperature": 0}
        answer = httpx.post(said["url"] + "/v1/chat/completions", json=body).json()
        assert (answer["choices"][0]["message"]["content"], answer["model"]) == ("stable", "spelt")
        process.communicate(timeout=10)  # closes standard input first
        assert process.returncode == 0


def test_a_file_that_is_no_model_ends_it_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"not a model")
    with start(tmp_path / "model.gguf") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, b"")
    assert "error: llama.cpp does not load model.gguf" in err.decode()
