from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from benchmarks.headers import Base, build_base, find_disagreements, try_headers
from benchmarks.headers_child import open_each
from flytewheel.errors import BaseModelError
from flytewheel.gguf_header import check_header
from flytewheel.weights import check_file

MUTATED = 3000


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return build_base(tmp_path_factory.mktemp("header") / "base.gguf")


def text(content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return struct.pack("<Q", len(content)) + content


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(key: str, kind: int, count: int, content: bytes) -> bytes:
    return pair(key, 9, struct.pack("<IQ", kind, count) + content)


def tensor(name: str, shape: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dims + struct.pack("<IQ", kind, offset)


def header(pairs: list[bytes], tensors: list[bytes], *, version: int = 3, data: int = 0) -> bytes:
    content = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join([*pairs, *tensors])
    return content + bytes(-len(content) % 32 if tensors else 0) + bytes(data)


ARCHITECTURE = pair("general.architecture", 8, text("x"))


def words(*tokens: str) -> bytes:
    return array("tokenizer.ggml.tokens", 8, len(tokens), b"".join(map(text, tokens)))


def test_a_sound_file_is_read_as_gguf_reads_it(base: Base, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(base.data)
    found = check_header(path)
    assert found.values["llama.block_count"] == 1
    assert found.values["tokenizer.ggml.pre"] == "gpt-2"
    assert found.values["tokenizer.ggml.add_bos_token"] is False
    assert found.lengths["tokenizer.ggml.merges"] == 2
    assert [tensor.name for tensor in found.tensors][:2] == ["token_embd.weight", "output_norm.weight"]
    assert find_disagreements([base.data], path) == []
    check_file(path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"GGUF", "has 4 bytes"),
        (b"GGML" + bytes(40), "does not begin with GGUF"),
        (header([], [], version=1), "is GGUF of version 1, expected one of"),
        (header([], [], version=3 << 24), "of a machine with the other byte order"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "says it has 9223372036854775808 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**64 - 1), "says it has 18446744073709551615 keys"),
        (header([pair("a", 4, b"\1\0\0\0")] * 2, []), "has the key 'a' twice"),
        (header([pair("a", 13, b"")], []), "'a' has the type 13, which does not exist"),
        (header([pair("a", 7, b"\2")], []), "neither 0 nor 1"),
        (header([array("a", 7, 2, b"\1\2")], []), "neither 0 nor 1"),
        (header([array("a", 9, 1, bytes(12))], []), "array of type 9, which arrays cannot have"),
        (header([array("a", 4, 2**62, b"")], []), "'a' says it has 4611686018427387904 items"),
        (header([array("a", 8, 1, struct.pack("<Q", 2**64 - 8))], []), "a string of 18446744073709551608 bytes"),
        (header([pair("a", 8, struct.pack("<Q", 2**63))], []), "the value of 'a' says it is 9223372036854775808 bytes"),
        (header([text(b"\xff\xfe") + struct.pack("<I", 0) + b"\0"], []), "key 0 is no UTF-8"),
        (header([pair("a\0b", 0, b"\0")], []), "expected visible signs"),
        (header([pair("", 0, b"\0")], []), "expected visible signs"),
        (header([pair("general.alignment", 4, struct.pack("<I", 48))], []), "alignment is 48, expected a power of two"),
        (header([pair("general.alignment", 8, text("32"))], []), "alignment is 32, expected a power of two"),
        (header([], [tensor("a"), tensor("a", offset=32)], data=64), "has the tensor 'a' twice"),
        (header([], [tensor("a", ())], data=32), "has 0 dimensions"),
        (header([], [tensor("a", (1,) * 5)], data=32), "has 5 dimensions"),
        (header([], [tensor("a", (0,))], data=32), "more or less than the file can hold"),
        (header([], [tensor("a", (2**32, 2**32, 2))], data=32), "more or less than the file can hold"),
        (header([], [tensor("a", (2**62,))], data=32), "more or less than the file can hold"),
        (header([], [tensor("a", kind=4)], data=32), "has the type 4, which is unknown"),
        (header([], [tensor("a", (33,), kind=8)], data=64), "has rows of 33, expected a multiple of 32"),
        (header([], [tensor("a", offset=1)], data=32), "begins at 1, expected 0"),
        (header([], [tensor("a"), tensor("b", offset=16)], data=64), "begins at 16, expected 32"),
        (header([], [tensor("a"), tensor("b", offset=0)], data=64), "begins at 0, expected 32"),
        (header([], [tensor("a")], data=15), "is cut short"),
        (header([], [tensor("a")], data=33), "behind its last tensor"),
        (header([], [tensor("n" * 64)], data=32), "is 64 bytes long"),
        (header([words("a", "b", "a")], []), "has the token 'a' twice"),
        (header([array("tokenizer.ggml.tokens", 4, 1, bytes(4))], []), "is no array of strings"),
        (header([words("a", "b"), array("tokenizer.ggml.scores", 6, 1, bytes(4))], []), "has 1 items for 2 tokens"),
        (header([words("a"), pair("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 1))], []), "one of 1 tokens"),
        (header([ARCHITECTURE, pair("x.block_count", 4, bytes(4))], []), "'x.block_count' is 0, expected 1 to 512"),
        (header([ARCHITECTURE, pair("x.block_count", 8, text("1"))], []), "'x.block_count' is 1, expected 1 to 512"),
        (header([ARCHITECTURE, pair("x.expert_count", 4, b"\4\0\0\0")], []), "has 4 experts and uses none"),
        (header([ARCHITECTURE, pair("x.rope.scaling.type", 8, text("odd"))], []), "expected one of ('none', 'linear'"),
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused_in_one_line(content: bytes, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "lying.gguf"
    path.write_bytes(content)
    with pytest.raises(BaseModelError) as raised:
        check_header(path, "export it again")
    assert str(raised.value).startswith(f"{path}: ")
    assert fault in str(raised.value)
    assert str(raised.value).endswith("nothing of it was loaded, export it again")
    assert "\n" not in str(raised.value)
    with pytest.raises(BaseModelError):
        check_file(path)


def test_what_is_allowed_is_let_through(tmp_path: Path) -> None:
    for content in (
        header([], []),
        header([array("a", 8, 0, b""), pair("b", 6, b"\0\0\xc0\x7f")], [], version=2),
        header([pair("general.alignment", 4, struct.pack("<I", 32))], [tensor("a"), tensor("b", offset=32)], data=48),
        header([words("a", "b", ""), array("tokenizer.ggml.scores", 6, 3, bytes(12))], []) + bytes(8),
    ):
        (tmp_path / "a.gguf").write_bytes(content)
        check_header(tmp_path / "a.gguf")


def test_mutated_headers_are_refused_or_sound(base: Base, tmp_path: Path) -> None:
    """`python -m benchmarks.headers` does 100,000, and has llama.cpp open 2,000 of those that pass."""
    outcome = try_headers(base, MUTATED, 7, tmp_path / "mutated.gguf")
    assert outcome.odd == []
    assert outcome.slowest_s < 1.0
    assert len(outcome.refused) > 30  # reasons
    assert outcome.refused.total() > MUTATED / 2
    sample = random.Random(0).sample(outcome.accepted, 40)
    assert find_disagreements(sample, tmp_path / "read.gguf") == []
    paths = [tmp_path / f"{index}.gguf" for index in range(len(sample))]
    for path, data in zip(paths, sample, strict=True):
        path.write_bytes(data)
    assert [said for said in open_each(paths).values() if said.startswith("crashed")] == []


def test_a_file_that_is_away_and_one_that_is_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(BaseModelError, match="cannot be read"):
            check_header(path)


def test_llama_cpp_never_sees_it(base: Base, tmp_path: Path) -> None:
    from flytewheel.errors import ExportError, LlamaServerError
    from flytewheel.export.llamacpp import open_llama
    from flytewheel.llama_server import run_server

    path = tmp_path / "lying.gguf"
    path.write_bytes(base.data[:8] + struct.pack("<Q", 2**62) + base.data[16:])
    lie = "says it has 4611686018427387904 tensors"
    with pytest.raises(ExportError, match=rf"cannot load it \(.*{lie}"), open_llama(path, vocab_only=True):
        pass
    server = run_server(path, alias="a", threads=1, slot_tokens=64)
    with pytest.raises(LlamaServerError, match=rf"error: .*{lie}"), server:
        pass
