"""Reads the header of a GGUF file without trusting one number in it, before llama.cpp sees the file.

llama.cpp's reader has grown careful over the years, yet what it reads from a file still decides how much it allocates
and where it looks, and a vocabulary with one token twice, or a model of no blocks, ends the process (an assertion). So
each length and count is held against what the file has left, and the whole must be consistent: keys and tensor names
once each, types that exist, rows of whole blocks, and tensors that follow one another without gap up to the end of the
file. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; where llama.cpp is stricter (no arrays of
arrays, names of at most 63 bytes, offsets in order), so is this.

Values are not kept, but those of `Header`; strings of arrays are stepped over. 0.3 s beside other work for Llama 3's
128,000 words and 280,000 merges.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from flytewheel.errors import BaseModelError

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
_BOOL, _STRING, _ARRAY, _UINT32 = 7, 8, 9, 4
_VERSIONS = (2, 3)
_MOST_KEYS, _MOST_TENSORS = 4096, 1 << 16
_MOST_ITEMS = 1 << 23  # of one array; the largest vocabularies have 2^18 tokens and twice as many merges
_LONGEST_KEY, _LONGEST_NAME = 65535, 63
_ALIGNMENTS = tuple(1 << power for power in range(3, 17))
_LARGEST = (1 << 63) - 1
_TOKENS = "tokenizer.ggml.tokens"
_MOST_BLOCKS, _MOST_EXPERTS = 512, 1024  # llama.cpp's own bounds
_SCALINGS = ("none", "linear", "yarn", "longrope")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor: `shape` with the row length first, as GGUF has it; `offset` and `size` in bytes from the start of the
    file."""

    name: str
    type: int
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says: single `values` by key, `lengths` of arrays by key, and tensors in their order."""

    version: int
    values: dict[str, Any] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    tensors: tuple[TensorInfo, ...] = ()


def check_header(path: Path, next_step: str = "get it from its source again", called: PurePath | None = None) -> Header:
    """Reads a header and holds it against the file.

    Args:
        path: Where it lies.
        next_step: What a person should do about a wrong one.
        called: The name that it has or will have, where `path` is a temporary one.

    Raises:
        BaseModelError: it is no GGUF, or its header lies: which file, where and how, and `next_step`.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < 24:
                raise _HeaderError(f"has {size} bytes, a header alone has 24")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, size).read()
    except _HeaderError as lie:
        raise BaseModelError(f"{called or path}: {lie}; nothing of it was loaded, {next_step}") from None
    except OSError as error:
        raise BaseModelError(f"{called or path}: cannot be read ({error.strerror}); {next_step}") from None


class _HeaderError(Exception):
    """What is wrong with a header, in words."""


class _Reader:
    """Reads forward; every step is held against the end of the file first."""

    def __init__(self, data: Any, size: int) -> None:
        self._data, self._size, self._at = data, size, 0

    def read(self) -> Header:
        if self._data[:4] != b"GGUF":
            raise _HeaderError("does not begin with GGUF")
        self._at = 4
        version = self._number("<I", "the version")
        if version not in _VERSIONS:
            hint = " (of a machine with the other byte order)" if version >> 24 in _VERSIONS else ""
            raise _HeaderError(f"is GGUF of version {version}{hint}, expected one of {_VERSIONS}")
        tensors = self._count("tensors", _MOST_TENSORS, 24)
        keys = self._count("keys", _MOST_KEYS, 13)
        header = Header(version)
        kinds: dict[str, int] = {}
        words: list[bytes] = []
        for index in range(keys):
            self._read_pair(index, header, kinds, words)
        alignment = header.values.get("general.alignment", 32)
        if alignment not in _ALIGNMENTS or kinds.get("general.alignment", _UINT32) != _UINT32:
            raise _HeaderError(
                f"general.alignment is {str(alignment)[:20]}, expected a power of two from 8 to 65536 (uint32)"
            )
        _check_vocabulary(header, kinds, words)
        _check_model(header)
        infos = tuple(self._read_tensors(tensors))
        return Header(version, header.values, header.lengths, self._place(infos, alignment))

    def _read_pair(self, index: int, header: Header, kinds: dict[str, int], words: list[bytes]) -> None:
        key = self._name(f"key {index}", _LONGEST_KEY)
        if key in kinds:
            raise _HeaderError(f"has the key {key!r} twice")
        kind = self._number("<I", f"the type of {key!r}")
        if kind != _ARRAY:
            kinds[key] = kind
            header.values[key] = self._value(kind, key)
            return
        kind = self._number("<I", f"the type of {key!r}")
        kinds[key] = kind << 8
        count = self._number("<Q", f"the length of {key!r}")
        least = 8 if kind == _STRING else struct.calcsize(_SCALARS[kind]) if kind in _SCALARS else 0
        if not least:
            raise _HeaderError(f"{key!r} is an array of type {kind}, which arrays cannot have")
        if count > _MOST_ITEMS or count * least > self._size - self._at:
            raise _HeaderError(f"{key!r} says it has {count} items, the file has {self._size - self._at} bytes left")
        header.lengths[key] = count
        if kind == _STRING:
            self._skip_strings(count, key, words if key == _TOKENS else None)
        else:
            content = self._take(count * least, key)
            if kind == _BOOL and content.strip(b"\x00\x01"):
                raise _HeaderError(f"{key!r} holds a truth value that is neither 0 nor 1")

    def _skip_strings(self, count: int, key: str, kept: list[bytes] | None) -> None:
        data, size, at, unpack = self._data, self._size, self._at, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at + 8 > size:
                raise _HeaderError(f"ends within the strings of {key!r}")
            length = unpack(data, at)[0]
            at += 8
            if length > size - at:
                raise _HeaderError(f"{key!r} holds a string of {length} bytes, the file has {size - at} left")
            if kept is not None:
                kept.append(data[at : at + length])
            at += length
        self._at = at

    def _value(self, kind: int, key: str) -> Any:
        if kind == _STRING:
            return self._string(f"the value of {key!r}").decode("utf-8", "replace")
        if kind not in _SCALARS:
            raise _HeaderError(f"{key!r} has the type {kind}, which does not exist")
        value = self._number(_SCALARS[kind], f"the value of {key!r}")
        if kind == _BOOL and value > 1:
            raise _HeaderError(f"{key!r} holds a truth value that is neither 0 nor 1")
        return bool(value) if kind == _BOOL else value

    def _read_tensors(self, count: int) -> Iterator[TensorInfo]:
        from gguf.constants import GGML_QUANT_SIZES

        blocks = {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}
        seen = set()
        for index in range(count):
            name = self._name(f"the name of tensor {index}", _LONGEST_NAME)
            if name in seen:
                raise _HeaderError(f"has the tensor {name!r} twice")
            seen.add(name)
            dims = self._number("<I", f"the number of dimensions of {name!r}")
            if not 1 <= dims <= 4:
                raise _HeaderError(f"tensor {name!r} has {dims} dimensions, expected 1 to 4")
            shape = tuple(self._number("<Q", f"the shape of {name!r}") for _ in range(dims))
            kind = self._number("<I", f"the type of {name!r}")
            if kind not in blocks:
                raise _HeaderError(f"tensor {name!r} has the type {kind}, which is unknown")
            per_block, block_size = blocks[kind]
            elements = 1
            for length in shape:
                elements *= length
            size = elements // per_block * block_size
            if not 0 < elements <= _LARGEST or size > self._size:
                raise _HeaderError(f"tensor {name!r} has the shape {shape}, more or less than the file can hold")
            if shape[0] % per_block:
                raise _HeaderError(
                    f"tensor {name!r} has rows of {shape[0]}, expected a multiple of {per_block} for its type"
                )
            yield TensorInfo(name, kind, shape, self._number("<Q", f"the offset of {name!r}"), size)

    def _place(self, infos: tuple[TensorInfo, ...], alignment: int) -> tuple[TensorInfo, ...]:
        """The tensors with offsets from the start of the file: each directly behind the one before, to the end."""
        start = self._at + -self._at % alignment
        expected, end, placed = 0, self._at, []
        for info in infos:
            if info.offset != expected:
                raise _HeaderError(
                    f"tensor {info.name!r} begins at {info.offset}, expected {expected} behind the one before it"
                )
            end = start + expected + info.size
            if end > self._size:
                raise _HeaderError(f"is cut short: tensor {info.name!r} ends at byte {end}, the file at {self._size}")
            placed.append(TensorInfo(info.name, info.type, info.shape, start + expected, info.size))
            expected += info.size + -info.size % alignment
        if self._size > end + -end % alignment:
            raise _HeaderError(f"has {self._size - end} bytes behind its last tensor, which nothing speaks of")
        return tuple(placed)

    def _count(self, what: str, most: int, least: int) -> int:
        count = int(self._number("<Q", f"the number of {what}"))
        if count > most or count * least > self._size - self._at:
            raise _HeaderError(
                f"says it has {count} {what}, which is more than {min(most, (self._size - self._at) // least)}"
            )
        return count

    def _name(self, what: str, longest: int) -> str:
        content = self._string(what, longest)
        try:
            name = content.decode("utf-8")
        except UnicodeDecodeError:
            raise _HeaderError(f"{what} is no UTF-8 ({content[:30]!r})") from None
        if not name or not name.isprintable():
            raise _HeaderError(f"{what} is {name[:30]!r}, expected visible signs")
        return name

    def _string(self, what: str, longest: int = _LARGEST) -> bytes:
        length = self._number("<Q", f"the length of {what}")
        if length > longest or length > self._size - self._at:
            raise _HeaderError(f"{what} says it is {length} bytes long, the file has {self._size - self._at} left")
        return self._take(length, what)

    def _number(self, form: str, what: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form), what))[0]

    def _take(self, length: int, what: str) -> bytes:
        if length > self._size - self._at:
            raise _HeaderError(f"ends within {what}")
        self._at += length
        return bytes(self._data[self._at - length : self._at])


def _check_vocabulary(header: Header, kinds: dict[str, int], words: list[bytes]) -> None:
    """What llama.cpp takes for granted of a vocabulary, and ends the process or reads elsewhere where it is not so."""
    if _TOKENS in kinds and kinds[_TOKENS] != _STRING << 8:
        raise _HeaderError(f"{_TOKENS} is no array of strings")
    if len(set(words)) < len(words):
        seen: set[bytes] = set()
        twice = next(word for word in words if word in seen or seen.add(word))  # type: ignore[func-returns-value]
        raise _HeaderError(f"has the token {twice.decode('utf-8', 'replace')[:40]!r} twice")
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        if key in kinds and header.lengths.get(key) != len(words):
            raise _HeaderError(f"{key!r} has {header.lengths.get(key, 0)} items for {len(words)} tokens")
    named = [key for key in header.values if key.startswith("tokenizer.ggml.") and key.endswith("_token_id")]
    for key in named if words else ():
        value = header.values[key]
        if kinds[key] != _UINT32 or value >= len(words):
            raise _HeaderError(f"{key!r} is {str(value)[:20]}, expected the number of one of {len(words)} tokens")


def _check_model(header: Header) -> None:
    """The numbers of a model that llama.cpp asserts rather than judges (`load_hparams`)."""
    name = header.values.get("general.architecture")
    experts, used = (header.values.get(f"{name}.{key}", 0) for key in ("expert_count", "expert_used_count"))
    bounds = {
        "block_count": range(1, _MOST_BLOCKS + 1),
        "nextn_predict_layers": range(_MOST_BLOCKS + 1),
        "expert_count": range(_MOST_EXPERTS + 1),
        "expert_used_count": range(min(1, experts), experts + 1) if isinstance(experts, int) else range(1),
        "rope.scaling.type": _SCALINGS,
    }
    if isinstance(experts, int) and experts > 0 == used and f"{name}.expert_used_count" not in header.lengths:
        raise _HeaderError(f"has {experts} experts and uses none of them")
    for key, allowed in bounds.items():
        value = header.values.get(f"{name}.{key}")
        if value is not None and value not in allowed:
            expected = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else f"one of {allowed}"
            raise _HeaderError(f"'{name}.{key}' is {str(value)[:20]}, expected {expected}")
