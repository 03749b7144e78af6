"""How each kind of device trains, and why: one table, `PROFILES`, a row for each kind, a reason beside each choice.

`choose_device` is a pure function from facts to a row; `read_facts` asks torch and the system. The trainers' arguments
and the evaluation are read from the row, and `flytewheel doctor` prints it. The CPU rows and the figures in the CUDA
rows (an H100) were measured (docs/log.md); the rest is read from the libraries' documentation and source.

Departs from torch in one thing: `torch.cuda.is_bf16_supported()` counts cards that emulate bf16 (before compute
capability 8.0, such as a T4); here these are cards without.

torch is imported inside `read_facts` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Literal, TypeVar

Kind = Literal["cuda", "mps", "cpu"]
T_co = TypeVar("T_co", covariant=True)

# Names of torch.cpu.get_capabilities(): x86's AVX512-BF16 and AMX, Arm's BF16.
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
_MPS_BF16_FROM_MACOS = 14
_CUDA_BF16_FROM_CAPABILITY = 8


@dataclass(frozen=True, slots=True)
class Choice(Generic[T_co]):
    """A value, and why this one."""

    value: T_co
    reason: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A row of the table.

    Attributes:
        name: of the row.
        kind: what torch calls the device.
        when: what the device has to be, in words.
        dtype: of the weights where the recipe says `auto`.
        dtypes: what a recipe's `base.dtype` may name.
        evaluation_dtype: of the weights that are judged; `None` is the one that the recipe or the device trains in.
        autocast: the trainer's flag; `None` is no autocast.
        attention: what transformers takes where the recipe says `auto` and the architecture has it, else eager.
        attentions: what a recipe's `base.attention` may name.
        flat: whether training leaves padding out and attends by lengths, where the model and its dtype can.
        compiled: whether layers are compiled in a training that is long enough.
        packing: whether rows share a sequence in SFT.
        sampling: order of rows in SFT and DPO, in transformers' words.
        workers: processes that load batches.
        pinned_memory: whether batches are put where the device can fetch them itself.
        qlora: whether a 4-bit base can be trained on.
    """

    name: str
    kind: Kind
    when: str
    dtype: Choice[str]
    dtypes: Choice[tuple[str, ...]]
    evaluation_dtype: Choice[str | None]
    autocast: Choice[str | None]
    attention: Choice[str]
    attentions: Choice[tuple[str, ...]]
    flat: Choice[bool]
    compiled: Choice[bool]
    packing: Choice[bool]
    sampling: Choice[str]
    workers: Choice[int]
    pinned_memory: Choice[bool]
    qlora: Choice[bool]

    def choices(self) -> dict[str, Choice[Any]]:
        """Every choice of the row by its name, in the table's order."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Choice)}


_SDPA = Choice("sdpa", "torch's fused attention is exact, on every device, and needs no further package")
_AS_TRAINED = Choice(None, "judged as it was trained")
_NO_WORKERS = Choice(0, "rows are tokenised before the first step: a worker would only copy them")
_NO_QLORA = Choice(False, "4-bit kernels (bitsandbytes) are trained with on CUDA only")
_NO_FLASH = Choice(("sdpa", "eager"), "flash kernels are for CUDA only")

_CUDA = Profile(
    name="cuda-bf16",
    kind="cuda",
    when="a CUDA card of compute capability 8.0 (Ampere) or later, or a ROCm card",
    dtype=Choice("bfloat16", "half the memory of float32 with its range; the card computes in it"),
    dtypes=Choice(("float32", "bfloat16", "float16"), "the card computes in all of them"),
    evaluation_dtype=_AS_TRAINED,
    autocast=Choice("bfloat16", "the adapter stays in float32, products are taken in bfloat16; no loss scaling needed"),
    attention=_SDPA,
    attentions=Choice(
        ("sdpa", "eager", "flash_attention_2"), "flash attention is by recipe, with the package flash-attn"
    ),
    flat=Choice(True, "torch's flash kernel by lengths needs no mask over all pairs: 354 instead of 595 ms a step"),
    compiled=Choice(True, "from 200 micro-batches on: 237 instead of 320 ms a step, for 22 s once; needs a C compiler"),
    packing=Choice(
        True, "rows are packed (best fit decreasing), each attends to itself only: next to no padding is computed"
    ),
    sampling=Choice("group_by_length", "pairs of one batch are about equally long; packed sequences are so anyway"),
    workers=_NO_WORKERS,
    pinned_memory=Choice(True, "copies to the card overlap with its work"),
    qlora=Choice(True, "bitsandbytes has 4-bit kernels for CUDA"),
)
_CPU = Profile(
    name="cpu",
    kind="cpu",
    when="a CPU without bf16 instructions, and no accelerator",
    dtype=Choice("float32", "this CPU has no bf16 instructions: each product would be converted to and fro"),
    dtypes=Choice(("float32",), "a CPU without bf16 instructions computes in float32 only"),
    evaluation_dtype=Choice("float32", "exact, and on a CPU the quickest"),
    autocast=Choice(None, "there is nothing to cast to"),
    attention=_SDPA,
    attentions=_NO_FLASH,
    flat=Choice(False, "the kernel by lengths is for CUDA only"),
    compiled=Choice(False, "compiling did not pay on a CPU"),
    packing=Choice(
        False, "grouping gave 3.3-3.7 times the useful tokens a second of full padding, packing 2.2-2.9 times"
    ),
    sampling=Choice("group_by_length", "rows of one batch are about equally long, so that little padding is computed"),
    workers=_NO_WORKERS,
    pinned_memory=Choice(False, "batches are where they are computed already"),
    qlora=_NO_QLORA,
)
_MPS = replace(
    _CPU,
    name="mps",
    kind="mps",
    when="Apple silicon, from macOS 14",
    dtype=Choice("bfloat16", "half the memory of float32 with its range; Metal has it from macOS 14"),
    dtypes=Choice(("float32", "bfloat16"), "never float16 on MPS: its small range needs loss scaling"),
    evaluation_dtype=_AS_TRAINED,
    autocast=Choice(None, "the weights are in their dtype already; never an fp16 or bf16 trainer flag on MPS"),
    compiled=Choice(False, "torch's compiler for Metal is a prototype"),
    packing=Choice(
        False, "grouping by length needs no mask over a packed sequence, and no flash kernel skips one on MPS"
    ),
    workers=Choice(0, "rows are tokenised already, and worker processes start slowly on macOS"),
    pinned_memory=Choice(False, "memory is shared between CPU and GPU: there is nothing to pin"),
)

# The table. A row says only in what it departs from the one that it is replaced from.
PROFILES: Mapping[str, Profile] = {
    row.name: row
    for row in (
        _CUDA,
        replace(
            _CUDA,
            name="cuda-fp16",
            when="a CUDA card before compute capability 8.0",
            dtype=Choice("float16", "the card only emulates bf16"),
            dtypes=Choice(("float32", "float16"), "the card only emulates bf16"),
            autocast=Choice("float16", "the adapter stays in float32, losses are scaled; the card only emulates bf16"),
            attentions=Choice(("sdpa", "eager"), "flash attention needs Ampere or later"),
            flat=Choice(False, "the kernel by lengths needs Ampere or later"),
        ),
        _MPS,
        replace(
            _MPS,
            name="mps-fp32",
            when="Apple silicon, before macOS 14",
            dtype=Choice("float32", "Metal has bfloat16 from macOS 14; never float16 on MPS"),
            dtypes=Choice(("float32",), "Metal has bfloat16 from macOS 14; never float16 on MPS"),
        ),
        replace(
            _CPU,
            name="cpu-bf16",
            when="a CPU with bf16 instructions (AVX512-BF16, AMX, Arm BF16), and no accelerator",
            dtype=Choice(
                "float32", "the CPU has bf16 instructions, but bf16 was measured 9 times slower on such a one"
            ),
            dtypes=Choice(("float32", "bfloat16"), "a CPU has no float16 to train in; bf16 works, slowly"),
            autocast=Choice(None, "bf16 autocast was measured 9 times slower than float32 on a Xeon with AMX"),
        ),
        _CPU,
    )
}


@dataclass(frozen=True, slots=True)
class Card:
    """A CUDA (or ROCm) card: memory in bytes, compute capability as (major, minor)."""

    name: str
    memory_bytes: int
    capability: tuple[int, int]
    bf16: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides the profile.

    Attributes:
        cards: those that this process may use, the one that trains first.
        mps: whether Metal can be used.
        macos: major version, 0 elsewhere.
        machine: such as arm64.
        threads: of torch.
        cpu_features: as torch names them.
    """

    cards: tuple[Card, ...] = ()
    mps: bool = False
    macos: int = 0
    machine: str = ""
    threads: int = 1
    cpu_features: frozenset[str] = frozenset()

    @property
    def cpu_bf16(self) -> tuple[str, ...]:
        """The CPU's bf16 instruction sets."""
        return tuple(name for name in _CPU_BF16 if name in self.cpu_features)


@dataclass(frozen=True, slots=True)
class Device:
    """The accelerator in use, and how it trains."""

    name: str
    profile: Profile

    @property
    def kind(self) -> Kind:
        """cuda, mps or cpu."""
        return self.profile.kind

    @property
    def dtype(self) -> str:
        """The dtype that trains and evaluates here."""
        return self.profile.dtype.value

    def __str__(self) -> str:
        return f"{self.kind} ({self.name}, {self.dtype})"


def choose_device(facts: Facts) -> Device:
    """Chooses the device: the first CUDA card, then MPS, then the CPU, each with its row of the table."""
    if facts.cards:
        card = facts.cards[0]
        return Device(card.name, PROFILES["cuda-bf16" if card.bf16 else "cuda-fp16"])
    if facts.mps:
        return Device(facts.machine, PROFILES["mps" if facts.macos >= _MPS_BF16_FROM_MACOS else "mps-fp32"])
    name = "1 thread" if facts.threads == 1 else f"{facts.threads} threads"
    return Device(name, PROFILES["cpu-bf16" if facts.cpu_bf16 else "cpu"])


def read_facts() -> Facts:
    """Asks torch and the system; nothing is put on a device."""
    import platform

    import torch

    cards = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card: Any = torch.cuda.get_device_properties(number)
            bf16 = bool(torch.version.hip) or card.major >= _CUDA_BF16_FROM_CAPABILITY
            cards.append(Card(card.name, int(card.total_memory), (card.major, card.minor), bf16))
    return Facts(
        cards=tuple(cards),
        mps=bool(torch.backends.mps.is_available()),
        macos=int((platform.mac_ver()[0] or "0").split(".")[0]),
        machine=platform.machine(),
        threads=torch.get_num_threads(),
        cpu_features=frozenset(name for name, present in torch.cpu.get_capabilities().items() if present is True),
    )


def find_device() -> Device:
    """The device of this machine."""
    return choose_device(read_facts())
