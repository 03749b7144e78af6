"""What lies in a model's folder is judged by its content, and nothing in it is ever run."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flytewheel import models
from flytewheel.errors import BaseModelError
from flytewheel.models import attach_adapter, load_adapted, load_model, load_tokenizer, warn_unpinned
from flytewheel.recipe import BaseModelSpec
from flytewheel.tokens import TokenCounter
from flytewheel.weights import check_adapter, check_base, check_file, identify, list_shards
from tests.hostile import WRAPPINGS
from tests.tiny_model import build_tiny_model
from tests.training.teaching import base_spec

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # asked for by PEFT
COMMIT = "5f7ef6c9d1a5c6a8ea1a2c0a3b2f0c9b0a7d4e11"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def base(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "base"))


@pytest.fixture(scope="module")
def honest_adapter(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapted: Any = get_peft_model(load_model(base_spec(honest), dtype="float32"), config)
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


@pytest.fixture
def adapter(honest_adapter: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest_adapter, tmp_path / "adapter"))


def _rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _refused(mark: Path, ask: Any, *named: str) -> str:
    with pytest.raises(BaseModelError) as caught:
        ask()
    message = str(caught.value)
    assert not mark.exists(), "the payload ran"
    assert "\n" not in message
    for part in named:
        assert part in message, message
    return message


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_the_payloads_are_live(wrapping: str, tmp_path: Path) -> None:
    """A hostile file that could do nothing would prove nothing."""
    import joblib
    import numpy as np
    import torch

    mark, file = tmp_path / "mark", tmp_path / "file"
    file.write_bytes(WRAPPINGS[wrapping](mark))
    try:
        if wrapping.startswith("torch"):
            torch.load(file, weights_only=False)
        elif wrapping.startswith("numpy"):
            np.load(file, allow_pickle=True)
        elif wrapping.startswith("joblib"):
            joblib.load(file)
        else:
            pickle.loads(file.read_bytes())
    except pickle.UnpicklingError:
        assert wrapping == "broken off"
    assert mark.exists()


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "tokenizer.model", "config.json", "vocab.txt"]
)
def test_a_pickle_is_refused_whatever_it_is_called(wrapping: str, name: str, base: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (base / name).write_bytes(WRAPPINGS[wrapping](mark))
    for ask in (load_model, load_tokenizer):
        message = _refused(mark, lambda ask=ask: ask(base_spec(base)), str(base / name), "nothing of it was loaded")
        assert re.search(r"is (a pickle|compressed)", message), message


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin", "adapter_config.json"])
def test_an_adapter_is_looked_at_as_well(wrapping: str, name: str, honest: Path, adapter: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (adapter / name).write_bytes(WRAPPINGS[wrapping](mark))
    model = load_model(base_spec(honest), dtype="float32")
    _refused(mark, lambda: attach_adapter(model, adapter), str(adapter / name), "nothing of it was loaded")


def test_an_adapter_of_pickles_alone_is_refused(adapter: Path, honest: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(WRAPPINGS["torch.save"](mark))
    ask = lambda: load_adapted(base_spec(honest), adapter, dtype="float32")  # noqa: E731
    _refused(mark, ask, "adapter_model.bin adapter_model.safetensors")
    (adapter / "adapter_model.bin").unlink()
    _refused(mark, ask, "adapter_model.safetensors is missing")


def test_honest_folders_load(base: Path, adapter: Path) -> None:
    (base / "README.md").write_text("words")
    (base / "modeling_tiny.py").write_text("raise SystemExit('it ran')")
    (base / "original").mkdir()
    (base / "training_args.bin").write_bytes(
        pickle.dumps({"lr": 1.0})
    )  # every fine-tuned model has one; nothing reads it
    assert load_tokenizer(base_spec(base)).chat_template
    assert load_adapted(base_spec(base), adapter, dtype="float32").peft_config
    assert load_model(BaseModelSpec(model="pocket")).num_parameters() > 1_000_000


def test_a_model_in_shards_loads(base: Path) -> None:
    whole = load_model(base_spec(base), dtype="float32")
    (base / "model.safetensors").unlink()
    whole.save_pretrained(base, max_shard_size="100KB")
    assert len(list_shards(base)) > 1
    assert load_model(base_spec(base)).num_parameters() == whole.num_parameters()
    (base / list_shards(base)[1]).unlink()
    with pytest.raises(BaseModelError, match=r"expected weights as safetensors, model-00002-of-\d+\.safetensors is"):
        load_model(base_spec(base))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "../elsewhere.safetensors", "/tmp/x.safetensors"])
def test_an_index_leads_to_safetensors_in_its_folder_only(name: str, base: Path) -> None:
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(BaseModelError, match=r"weight_map names .*, expected a safetensors file in the same folder"):
        load_model(base_spec(base))


def test_honest_weights_in_pickles_are_converted_by_the_command_in_the_message(base: Path) -> None:
    import torch

    model = load_model(base_spec(base), dtype="float32")
    torch.save(model.state_dict(), base / "pytorch_model.bin")
    with pytest.raises(BaseModelError, match=r"model\.safetensors lies beside it"):
        load_model(base_spec(base))
    (base / "model.safetensors").unlink()
    with pytest.raises(BaseModelError, match="convert it where you trust where it came from: ") as caught:
        load_model(base_spec(base))
    command = shlex.split(str(caught.value).partition("came from: ")[2])
    subprocess.run([sys.executable, *command[1:]], cwd=base, check=True)
    (base / "pytorch_model.bin").unlink()
    again = load_model(base_spec(base), dtype="float32").state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in model.state_dict().items())


def _safetensors(header: bytes, data: bytes = b"\0" * 8, *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0",
        _safetensors(b"{}", b"", length=1 << 40),
        _safetensors(b"{", b""),
        _safetensors(b'["a"]', b""),
        _safetensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,16]}}'),
        _safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
        _safetensors(b'{"a":{"dtype":"PY","shape":[2],"data_offsets":[0,8]}}'),
        _safetensors(b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}'),
        _safetensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}'),
        b"words, no tensors",
    ],
)
def test_a_header_must_make_sense(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(BaseModelError, match=r"is not safetensors \(.*\); bring the file again"):
        check_file(path)
    path.write_bytes(_safetensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'))
    check_file(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"words", "is text or data"),
        ("model.gguf", b"words", "is text or data"),
        ("config.json", b"{", "expected JSON"),
        ("config.json", b"[]", "expected a JSON object, got list"),
        ("tokenizer_config.json", b"[" * 200_000, "expected JSON"),
        ("adapter_config.json", b"{}", "holds an adapter"),
        ("tokenizer.model", b"PK\x03\x04", r"is an archive \(zip\)"),
    ],
)
def test_what_a_file_is_not_is_said(name: str, content: bytes, message: str, base: Path) -> None:
    (base / name).write_bytes(content)
    with pytest.raises(BaseModelError, match=message) as caught:
        check_base(base)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "can\nthe\nNRG\n",
        "can\nthe\n(R",
        "In the beginning",
        "S'x'\n.",
        "[PAD]\n[UNK]",
        "#version: 0.2\nt h",
        "x^2 + y",
        "PAD",
    ],
)
def test_words_are_no_pickle(words: str, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(words)
    assert identify(path) in ("JSON", "text or data")
    check_file(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "evil"},
        {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}},
        {"auto_map": {"AutoConfig": "someone/else--modeling_evil.EvilConfig"}, "model_type": "evil"},
        {"auto_map": {"AutoTokenizer": ["modeling_evil.Evil", None]}},
        {"architectures": ["EvilForCausalLM"]},
        {"attn_implementation": "someone/kernel"},
        {"text_config": {"_attn_implementation": {"text": "someone/kernel"}}},
    ],
)
def test_a_configuration_that_wants_code_is_refused(changes: dict[str, Any], base: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (base / "modeling_evil.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    _rewrite(base / "config.json", **changes)
    for ask in (load_model, load_tokenizer):
        _refused(mark, lambda ask=ask: ask(base_spec(base)), "config.json", "code of a model is never run here")


@pytest.mark.parametrize("value", [{"AutoTokenizer": ["evil.Evil", None]}, ["evil.Evil", None]])
def test_a_tokenizer_that_wants_code_is_refused(value: Any, base: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (base / "evil.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    _rewrite(base / "tokenizer_config.json", auto_map=value)
    _refused(mark, lambda: load_tokenizer(base_spec(base)), "tokenizer_config.json", "never run here")


def test_a_class_that_transformers_has_is_its_own(base: Path, tmp_path: Path) -> None:
    """As Phi-3 and DeepSeek-V3 are published: with code beside the weights, under names that transformers has."""
    mark = tmp_path / "mark"
    (base / "modeling.py").write_text(
        f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass LlamaForCausalLM: ...\n"
    )
    (base / "custom_generate").mkdir()
    (base / "custom_generate" / "generate.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    named = {"AutoConfig": "modeling.LlamaConfig", "AutoModelForCausalLM": "modeling.LlamaForCausalLM"}
    _rewrite(base / "config.json", auto_map=named)
    assert type(load_model(base_spec(base))).__module__.startswith("transformers.")
    assert load_tokenizer(base_spec(base)).chat_template
    assert not mark.exists()


def test_another_kind_of_adapter_is_refused(adapter: Path) -> None:
    _rewrite(adapter / "adapter_config.json", peft_type="XLORA", adapters={"a": "someone/else"})
    with pytest.raises(BaseModelError, match="expected peft_type 'LORA', got 'XLORA'"):
        check_adapter(adapter)


def test_tokens_are_counted_with_a_tokenizer_that_was_looked_at(base: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (base / "tokenizer.json").write_bytes(WRAPPINGS["protocol 4"](mark))
    _refused(mark, lambda: TokenCounter(base_spec(base))("text"), "tokenizer.json", "is a pickle (protocol 4)")


@pytest.fixture
def cache(honest: Path, tmp_path: Path) -> Path:
    """A hub's cache as its client lays it out, with one model in it."""
    folder = tmp_path / "hub" / "models--someone--small"
    shutil.copytree(honest, folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return folder / "snapshots" / COMMIT


def _ask_hub(cache: Path, code: str, revision: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a child without network: the hub's client reads its environment when it is imported."""
    start = f"from flytewheel.models import *; spec = BaseModelSpec(model='someone/small', revision={revision!r})\n"
    return subprocess.run(
        [sys.executable, "-c", start + code],
        env={**os.environ, "HF_HUB_CACHE": str(cache.parents[2]), "HF_HUB_OFFLINE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_a_hub_model_is_loaded_from_its_commit(cache: Path) -> None:
    places = "load_tokenizer(spec).name_or_path, load_model(spec).name_or_path"
    done = _ask_hub(cache, f"print({places}, base_digest(spec), warn_unpinned(spec))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        f"{cache} {cache} {COMMIT} warning: base.model 'someone/small': no revision is given; "
        f"commit {COMMIT} is used, pin it with base.revision: {COMMIT}"
    )


def test_a_pinned_hub_model_needs_no_branch(cache: Path) -> None:
    shutil.rmtree(cache.parents[1] / "refs")
    done = _ask_hub(cache, "print(open_base(spec, with_weights=True), warn_unpinned(spec))", COMMIT)
    assert done.stdout.strip() == f"{cache} None", done.stderr


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json"])
def test_a_hub_model_is_looked_at_in_the_cache(name: str, cache: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (cache / name).write_bytes(WRAPPINGS["torch.save"](mark))
    done = _ask_hub(cache, "load_model(spec)")
    assert f"BaseModelError: {cache / name}: is a pickle" in done.stderr
    assert not mark.exists()


def test_folders_need_no_pin(honest: Path) -> None:
    assert warn_unpinned(base_spec(honest)) is None
    assert warn_unpinned(BaseModelSpec(model="pocket")) is None


def test_every_from_pretrained_says_that_code_is_not_trusted() -> None:
    """Also a call that somebody adds tomorrow. Adapters bring no code; they must be safetensors."""
    calls = 0
    for path in [*ROOT.glob("flytewheel/**/*.py"), *ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("tasks/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("from_pretrained", "load_adapter"):
                calls += 1
            if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained"):
                continue
            given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            owner = ast.unparse(node.func)
            if owner == "LoraConfig.from_pretrained":
                continue  # a JSON file
            if "Peft" not in owner:
                assert given.get("trust_remote_code") is False, f"{path}:{node.lineno}"
            if "Tokenizer" not in owner and "AutoConfig" not in owner:  # neither reads weights
                assert given.get("use_safetensors") is True, f"{path}:{node.lineno}"
    assert calls >= 5
    assert models.__doc__
