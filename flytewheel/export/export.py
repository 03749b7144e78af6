"""The export as a whole: every kind in one pass, adapter merged; the adapter alone → Modelfile → parity → report.

Everything is written into a hidden folder inside `out` and moved to its names only when parity has passed,
`export.json` last. An export that fails or is killed leaves nothing that looks finished, and the next one sweeps up.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flytewheel.errors import ExportError
from flytewheel.export.convert import write_kinds
from flytewheel.export.lora import find_obstacle, write_lora
from flytewheel.export.modelfile import adds_start_token, read_generation, write_modelfile
from flytewheel.export.parity import AdapterFiles, ParityReport, check_parity
from flytewheel.export.report import NAME, ExportedFile, ExportReport, ParitySummary, write_json, write_report
from flytewheel.export.source import open_source
from flytewheel.export.tensor_types import TensorTypes, read_tensor_types
from flytewheel.models import load_tokenizer, open_base, trained_files, trained_kind
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.records import Message, digest, file_digest

CODE_VERSION = "2"  # goes up where the same weights would give another file

# Where what was trained lies in an export and in the registry, by its kind (`models.trained_kind`).
FOLDERS: Mapping[str, str] = {"adapter": "adapter", "full": "weights"}
_STAGING = ".export-in-progress"
ADAPTER = "adapter-F16.gguf"
_BASE = "base.gguf"  # what the adapter is tried on, where no file of the base is at hand; it goes when parity is done

Progress = Callable[[str, int, int | None], None]


def export_model(
    out: Path,
    *,
    base: BaseModelSpec,
    adapter: Path | None,
    export: ExportSpec,
    prompts: Sequence[tuple[Message, ...]],
    seed: int,
    base_file: Path | None = None,
    progress: Progress | None = None,
    threads: int = 1,
) -> ExportReport:
    """Exports what was trained as GGUF into `out`, with proof that the files behave as the weights.

    Leaves one `model-<kind>.gguf` for each quantisation and the one to serve, `Modelfile`, `adapter/` or `weights/`
    (what was trained, if anything was), `parity.json` and `export.json` in `out`; and for an adapter that llama.cpp can
    be told, with `export.adapter`, `adapter-F16.gguf`.

    Args:
        out: Folder, made if missing; an earlier export in it is replaced.
        base: The base model.
        adapter: Folder that training wrote, an adapter or full weights; None for the bare base.
        export: Kinds to write, the one to serve, and how closely to look.
        prompts: Held-out conversations that end with the user's turn, or better with the answer to it;
            `export.parity_prompts` of them are drawn.
        seed: Decides which.
        base_file: The base's own GGUF in the kind to serve, where there is one: the adapter is tried on it.
        progress: Told what is being done.
        threads: That merge and quantise, and of llama.cpp.

    Raises:
        BaseModelError: the base cannot be loaded.
        ExportError: it cannot be written as GGUF, or a file fails parity (the first differing token is named).
    """
    if not prompts:
        raise ExportError("export needs prompts to compare the files with the weights; give some of the held-out ones")
    drawn = list(prompts)
    if len(drawn) > export.parity_prompts:
        drawn = random.Random(seed).sample(drawn, export.parity_prompts)
    kinds: tuple[str, ...] = tuple(dict.fromkeys((*export.quantizations, export.serve)))
    seconds: dict[str, float] = {}
    with _staged(out) as staging:
        tokenizer = load_tokenizer(base)
        files: dict[str, Path] = {kind: staging / f"model-{kind}.gguf" for kind in kinds}
        name = Path(base.model).name
        with _timed(seconds, "write"), open_source(base, adapter) as source:
            obstacle = find_obstacle(source) if export.adapter else "export.adapter is off"
            conversion = write_kinds(
                source,
                tokenizer,
                files,
                name=name,
                threads=threads,
                reserve=_size_trained(adapter),
                progress=progress,
            )
            if obstacle is None:
                write_lora(source, staging / ADAPTER, name=name)
                if base_file is None:
                    with open_source(base, None) as bare:
                        write_kinds(bare, tokenizer, {export.serve: staging / _BASE}, name=name, threads=threads)
            context_tokens = int(source.config.max_position_embeddings)
        turns = write_modelfile(
            staging / "Modelfile",
            model_file=files[export.serve].name,
            tokenizer=tokenizer,
            context_tokens=context_tokens,
            system=base.system_prompt,
            generation=read_generation(open_base(base, with_weights=False)),
            adds_start=adds_start_token(files[export.serve]),
        )
        with _timed(seconds, "parity"):
            parity = check_parity(
                base,
                adapter,
                tokenizer,
                files,
                drawn,
                spec=export,
                adapter=None
                if obstacle
                else AdapterFiles(staging / ADAPTER, base_file or staging / _BASE, export.serve),
                threads=threads,
                progress=progress,
            )
        (staging / _BASE).unlink(missing_ok=True)
        write_json(staging / "parity.json", parity)
        if adapter is not None:
            _copy_trained(adapter, staging / FOLDERS[trained_kind(adapter)])
        report = ExportReport(
            base_model=base.model,
            adapter_digest=_digest_adapter(adapter),
            architecture=conversion.architecture,
            pre_tokenizer=conversion.pre_tokenizer,
            limits=conversion.limits,
            serve=files[export.serve].name,
            files={files[kind].name: _describe(kind, files[kind], conversion.types[kind]) for kind in kinds},
            adapter_file=None if obstacle else _describe_adapter(staging / ADAPTER),
            adapter_obstacle=obstacle if adapter is not None else None,
            template_in_modelfile=turns is not None,
            parity=summarise(parity),
            seconds={step: round(value, 3) for step, value in seconds.items()},
        )
        write_report(staging, report)
    return report


def summarise(parity: ParityReport) -> ParitySummary:
    """The figures of a parity report that go into tables."""
    files = parity.files
    answers = [list(prompt.answers.values()) for prompt in parity.prompts]
    return ParitySummary(
        prompts=len(parity.prompts),
        positions=next(iter(files.values())).positions,
        greedy_equal=sum(not any(answer.near_ties for answer in of) for of in answers),
        near_ties=sum(len(answer.near_ties) for of in answers for answer in of),
        looping=sum(any(answer.loops for answer in of) for of in answers),
        top1={kind: file.top1 for kind, file in files.items()},
        mean_kl_nats={kind: file.mean_kl_nats for kind, file in files.items()},
        noise_kl_nats={kind: file.noise_kl_nats for kind, file in files.items()},
        base_ratio={kind: file.base_ratio for kind, file in files.items()},
        largest_logit_difference={kind: file.largest_logit_difference for kind, file in files.items()},
    )


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder to write in, whose files take the place of an earlier export's when the block ends well."""
    out.mkdir(parents=True, exist_ok=True)
    staging = out / _STAGING
    shutil.rmtree(staging, ignore_errors=True)  # of an export that was killed
    _clear(out)
    staging.mkdir()
    try:
        yield staging
        for path in sorted(staging.iterdir(), key=lambda path: path.name == NAME):
            path.replace(out / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _clear(out: Path) -> None:
    """Takes an earlier export away, its report first."""
    (out / NAME).unlink(missing_ok=True)
    for path in (*out.glob("model-*.gguf"), out / ADAPTER, out / "Modelfile", out / "parity.json"):
        path.unlink(missing_ok=True)
    for name in FOLDERS.values():
        shutil.rmtree(out / name, ignore_errors=True)


def _copy_trained(folder: Path, target: Path) -> None:
    target.mkdir()
    for name in trained_files(folder):
        shutil.copyfile(folder / name, target / name)


def _size_trained(folder: Path | None) -> int:
    """Bytes of the copy of what was trained; nothing of what is not whole, which is refused later."""
    if folder is None or not (folder / "config.json").is_file():
        return 0
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _digest_adapter(folder: Path | None) -> str | None:
    """Digest over what was trained; None for the bare base."""
    if folder is None:
        return None
    return digest({name: file_digest(folder / name) for name in trained_files(folder)})


def _describe(kind: str, path: Path, types: TensorTypes) -> ExportedFile:
    return ExportedFile(kind, file_digest(path), path.stat().st_size, types.counts, types.fallbacks)


def _describe_adapter(path: Path) -> ExportedFile:
    return _describe("adapter", path, read_tensor_types(path, "F16"))


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - started
