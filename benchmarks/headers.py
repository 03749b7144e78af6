"""Mutated GGUF headers: each is refused in one line or truly consistent, 100,000 of them.

Bits flipped, files cut and lengthened, every length, count, type and offset set to what does harm, fields swapped and
copied over each other. What is accepted is held against gguf's own reader where that reads it, and a sample is opened
by llama.cpp in a process of its own (vocabulary alone, then the whole model): that process must not crash.
"""

from __future__ import annotations

import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import Goal, report
from benchmarks.headers_child import open_each
from flytewheel.errors import BaseModelError
from flytewheel.gguf_header import check_header

HARMFUL = (
    0, 1, 2, 7, 8, 9, 13, 31, 32, 63, 64, 255, 256, 4096, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**40, 2**60, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Base:
    """A sound file, where its header's numbers lie (`fields`: place and width in bytes), and where its header ends."""

    data: bytes
    fields: tuple[tuple[int, int], ...]
    end: int


@dataclass
class Outcome:
    """What became of mutated files; `odd` are those that met another exception or took too long."""

    refused: Counter[str] = field(default_factory=Counter)
    accepted: list[bytes] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


def build_base(path: Path) -> Base:
    """A whole model of one block, 20 KiB, which llama.cpp opens and runs."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter, quants

    signs = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    tokens = [*signs, "<|end|>"]
    chance = np.random.default_rng(0)
    writer = GGUFWriter(str(path), "llama")
    writer.add_name("mutated")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(signs) + [3])
    writer.add_token_merges(["a b", "ab c"])
    writer.add_eos_token_id(len(signs))
    writer.add_add_bos_token(False)
    writer.add_array("tokenizer.ggml.flags", [True, False])
    for name, shape in (
        ("token_embd.weight", (len(tokens), 32)), ("output_norm.weight", (32,)), ("blk.0.attn_norm.weight", (32,)),
        ("blk.0.ffn_norm.weight", (32,)), *((f"blk.0.{part}.weight", (32, 32)) for part in (
            "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")),
    ):  # fmt: skip
        values = chance.standard_normal(shape).astype(np.float32)
        if name.startswith("blk.0.ffn_") and len(shape) == 2:
            packed = quants.quantize(values, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    fields, end = _find_fields(data)
    return Base(data, fields, end)


def _find_fields(data: bytes) -> tuple[tuple[tuple[int, int], ...], int]:
    """Places and widths of the numbers in a sound header; trusts every one of them."""
    places: list[tuple[int, int]] = []
    at = 4

    def number(width: int) -> int:
        nonlocal at
        places.append((at, width))
        at += width
        return int.from_bytes(data[at - width : at], "little")

    def string() -> None:
        nonlocal at
        length = number(8)
        at += length

    widths = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    number(4)
    tensors, keys = number(8), number(8)
    for _ in range(keys):
        string()
        kind, count = number(4), 1
        if kind == 9:
            kind, count = number(4), number(8)
        for index in range(count):
            string() if kind == 8 else number(widths[kind])
            if index > 2:  # or half of all mutations would hit the vocabulary
                places.pop()
    for _ in range(tensors):
        string()
        for _ in range(number(4)):
            number(8)
        number(4)
        number(8)
    return tuple(places), at


def mutate(base: Base, chance: random.Random) -> bytes:
    """One to three changes; most hit the header, a few what lies behind it."""
    data = bytearray(base.data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        kind = chance.randrange(9)
        place, width = chance.choice(base.fields)
        if kind == 0:
            data[chance.randrange(base.end) % max(1, len(data))] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[chance.randrange(len(data)) :]
        elif kind in (2, 3):
            data[place : place + width] = (chance.choice(HARMFUL) % (1 << 8 * width)).to_bytes(width, "little")
        elif kind == 4:
            value = int.from_bytes(base.data[place : place + width], "little") + chance.randint(-3, 3)
            data[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
        elif kind == 5:
            other, _ = chance.choice(base.fields)
            data[place : place + width], data[other : other + width] = (
                base.data[other : other + width], base.data[place : place + width],
            )  # fmt: skip
        elif kind == 6:
            length = chance.randint(1, 64)
            start, target = chance.randrange(base.end), chance.randrange(base.end)
            data[target : target + length] = base.data[start : start + length]
        elif kind == 7:
            data += chance.randbytes(chance.choice((1, 31, 32, 33, 1000)))
        else:
            start = chance.randrange(base.end)
            del data[start : start + chance.randint(1, 40)]
        if not data:
            break
    return bytes(data)


def try_headers(base: Base, count: int, seed: int, path: Path) -> Outcome:
    """Judges `count` mutated files, each written to `path`."""
    chance, outcome = random.Random(seed), Outcome()
    for _ in range(count):
        data = mutate(base, chance)
        path.write_bytes(data)
        begun = time.perf_counter()
        try:
            check_header(path)
            if data != base.data:
                outcome.accepted.append(data)
        except BaseModelError as error:
            outcome.refused[" ".join(str(error).split(": ", 1)[1].split()[:3])] += 1
            if "\n" in str(error) or len(str(error)) > 500:
                outcome.odd.append(f"a long message: {error}")
        except Exception as error:
            outcome.odd.append(repr(error))
        outcome.slowest_s = max(outcome.slowest_s, time.perf_counter() - begun)
    return outcome


def find_disagreements(accepted: list[bytes], path: Path) -> list[str]:
    """Accepted files that gguf's own reader cannot read, or reads other tensors from."""
    from gguf import GGUFReader

    told = []
    for data in accepted:
        path.write_bytes(data)
        header = check_header(path)
        try:
            tensors = GGUFReader(str(path)).tensors
            same = [(one.name, one.data_offset, one.n_bytes) for one in tensors] == [
                (one.name, one.offset, one.size) for one in header.tensors
            ]
        except (ValueError, KeyError, IndexError, struct.error) as error:
            told.append(repr(error)[:200])
        else:
            told += [] if same else ["other tensors"]
    return told


def measure(quick: bool) -> list[Goal]:
    """All of it."""
    count, sampled = (5000, 100) if quick else (100_000, 2000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = build_base(folder / "base.gguf")
        check_header(folder / "base.gguf")
        outcome = try_headers(base, count, 2026, folder / "mutated.gguf")
        grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        sample = random.Random(1).sample(outcome.accepted, min(sampled, len(outcome.accepted)))
        disagreements = find_disagreements(sample, folder / "read.gguf")
        for index, data in enumerate(sample):
            (folder / f"{index}.gguf").write_bytes(data)
        opened = open_each([folder / f"{index}.gguf" for index in range(len(sample))])
    print(f"{count} files: {outcome.refused.total()} refused, {len(outcome.accepted)} consistent")
    for words, found in outcome.refused.most_common(12):
        print(f"  {found:>6}  {words} …")
    print(f"of {len(sample)} consistent ones llama.cpp opened: {dict(Counter(opened.values()))}")
    for path, said in opened.items():
        if said.startswith("crashed"):
            print(f"  {path.name}: {said}")
    for line in [*outcome.odd[:5], *disagreements[:5]]:
        print(f"  {line}")
    crashed = sum(said.startswith("crashed") for said in opened.values())
    return [
        Goal("files that met another exception or a long message", len(outcome.odd), 0),
        Goal("slowest file, s", outcome.slowest_s, 1.0),
        Goal("memory grown, MiB", grown_mib - sum(map(len, outcome.accepted)) / 2**20, 100),
        Goal("consistent files that gguf's reader reads otherwise", len(disagreements), 0),
        Goal("consistent files on which llama.cpp crashed", crashed, 0),
    ]


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
