"""Kill -9 at random moments of SFT and DPO: does the next attempt end with the identical adapter?

Every story is a training of the tiny test model in a process of its own that is killed at a moment drawn from a printed
seed, and a second process that is started in the same place and runs to its end. Most moments are spread over the whole
life, from loading to publishing; the rest are aimed at what is short: writing a checkpoint, uploading one, publishing.
Half of the stories keep copies in a real S3 server, and in half of these the machine is lost as well: its directory is
deleted, and the second process knows the store only. The adapter is compared byte by byte with that of an uninterrupted
training in an interpreter of its own, without a store.

Processes are forked from one that has imported the libraries and computed nothing (a start costs 8 s of CPU): one
thread, so that forking is safe. The reference is no fork, so that a hash salt could not hide.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import Goal, report
from benchmarks.kills_child import METHODS, STEPS, StoreAddress, prepare, train
from flytewheel.local import objects
from flytewheel.training.seal import SEAL
from flytewheel.training.uploads import list_copies

AIMS = ("writing", "uploading", "publishing")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
DEADLINE_S = 600.0
LOADING = 4


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an uninterrupted life took: until its first step, and for a step, in seconds."""

    loading_s: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Story:
    """One kill: `aim` is a short moment to wait for, or empty; then `moment` in [0, 1) is the share of a life, whose
    parts are the loading (as long as `LOADING` steps), each step, and what comes after the last one.
    """

    number: int
    method: str
    aim: str
    moment: float
    stored: bool
    lost: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the kill fell, the step that was gone on from and the one expected, and whether the adapter is the same."""

    phase: str
    expected: int | None
    resumed: int
    identical: bool


def draw_stories(method: str, count: int, chance: random.Random) -> list[Story]:
    """Three in ten are aimed; the others are spread evenly over a life, each somewhere in its part of it."""
    aimed = [AIMS[number % len(AIMS)] for number in range(count * 3 // 10)]
    spread = count - len(aimed)
    moments = [(part + chance.random()) / spread for part in range(spread)]
    plans = [("", moment) for moment in moments] + [(aim, chance.random()) for aim in aimed]
    stories = []
    for number, (aim, moment) in enumerate(plans):
        stored = number % 2 == 0 or aim == "uploading"
        stories.append(Story(number, method, aim, moment, stored, lost=stored and number % 4 == 0))
    return stories


def tell(story: Story, folder: Path, pace: Pace, store: StoreAddress, reference: list[bytes]) -> Outcome:
    """Kills one training and lets the next attempt come to its end."""
    root = folder / f"{story.method}-{story.number}"
    address = replace(store, bucket=f"kills-{root.name}") if story.stored else None
    if address is not None:
        address.open().ensure_bucket()
    steps = Steps()
    child = fork(lambda: train(story.method, folder, root, address, steps.note))
    if story.aim:
        _wait_for(story, root, child)
    else:
        _wait(story, pace, steps, child)
    steps.close()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    time.sleep(0.05)  # the server may still be at the last request
    phase, expected = _look(root, address, lost=story.lost)
    if story.lost:
        shutil.rmtree(root, ignore_errors=True)
    finish(fork(lambda: train(story.method, folder, root, address)))
    resumed = json.loads((root / "out" / "report.json").read_text(encoding="utf-8"))["resumed_from_step"]
    identical = [(root / "out" / name).read_bytes() for name in ADAPTER] == reference
    shutil.rmtree(root)
    return Outcome(phase, expected, resumed, identical)


def fork(work: Callable[[], None]) -> int:
    """Runs `work` in a child; its output goes nowhere, but for a trace when it fails. Returns the process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        errors = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        work()
        code = 0
    except BaseException:
        os.write(errors, traceback.format_exc().encode())
    finally:
        os._exit(code)


def finish(child: int) -> None:
    """Waits for a child to end well."""
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"a training that nobody killed ended with status {status}: see its trace above")


class Steps:
    """Counts the steps of a forked training: -1 before it begins to train."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._done = -1

    def note(self, what: str, done: int, total: int | None) -> None:
        """Called in the child after each step."""
        os.write(self._writer, b".")

    def count(self) -> int:
        """Steps done so far."""
        with suppress(BlockingIOError):
            self._done += len(os.read(self._reader, 1 << 16))
        return self._done

    def close(self) -> None:
        """Closes both ends in this process."""
        os.close(self._reader)
        os.close(self._writer)


def measure_pace(method: str, folder: Path, store: StoreAddress) -> Pace:
    """Times an uninterrupted life."""
    started, steps = time.monotonic(), Steps()
    child = fork(lambda: train(method, folder, folder / "life", store, steps.note))
    while steps.count() < 0 and not _ended(child):
        time.sleep(0.005)
    loading_s = time.monotonic() - started
    finish(child)
    steps.close()
    shutil.rmtree(folder / "life")
    return Pace(loading_s, (time.monotonic() - started - loading_s) / STEPS[method])


def _wait(story: Story, pace: Pace, steps: Steps, child: int) -> None:
    """Waits until the training's life is at the story's moment."""
    reached, part = divmod(story.moment * (LOADING + STEPS[story.method] + 1), 1)
    until = reached - LOADING
    seconds = part * pace.step_s if until >= 0 else (reached + part) / LOADING * pace.loading_s
    while until >= 0 and steps.count() < until and not _ended(child):
        time.sleep(0.001)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not _ended(child):
        time.sleep(0.001)


def _wait_for(story: Story, root: Path, child: int) -> None:
    """Waits for the short moment that a story aims at: the n-th of its kind, and then a little."""
    nth = 1 + int(story.moment * 4) if story.aim != "publishing" else 1
    seen: set[str] = set()
    deadline = time.monotonic() + DEADLINE_S
    while not _ended(child) and time.monotonic() < deadline:
        if story.aim == "writing":
            seen |= {path.name for path in root.glob("checkpoints/*/checkpoint-*") if not (path / SEAL).exists()}
        elif story.aim == "uploading":
            seen |= {path.parent.name for path in root.glob(f"checkpoints/*/checkpoint-*/{SEAL}")}
        else:
            seen |= {path.name for path in root.glob("checkpoints/*/finished*")}
        if len(seen) >= nth:
            time.sleep(0.02 * story.moment)
            return
        time.sleep(0.0005)


def _ended(child: int) -> bool:
    info = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return info is not None


def _look(root: Path, store: StoreAddress | None, *, lost: bool) -> tuple[str, int | None]:
    """Where the kill fell, and the step that the next attempt should go on from (None: nothing is left to train)."""
    checkpoints = list(root.glob("checkpoints/*/checkpoint-*"))
    here = [_step(path) for path in checkpoints if (path / SEAL).exists()]
    there = []
    if store is not None:
        mine = [stored for stored, about in list_copies(store.open()) if about.get("run") == root.name]
        there = [step for stored in mine for step, _ in stored.complete()]
    finished = bool(list(root.glob("checkpoints/*/finished/report.json")))
    if (root / "out" / "report.json").exists():
        phase = "after the end"
    elif finished or list(root.glob("checkpoints/*/finished*")):
        phase = "publishing"
    elif len(here) < len(checkpoints):
        phase = "writing"
    elif store is not None and here and max(here) not in there:
        phase = "uploading"
    else:
        phase = "training" if here else "before the first checkpoint"
    if finished and not lost:
        return phase, None
    return phase, max([*([] if lost else here), *there], default=0)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def measure(quick: bool, *, seed: int) -> Sequence[Goal]:
    """Tells all stories and counts the identical endings."""
    count = 5 if quick else 20
    print(f"seed {seed}", flush=True)
    goals = []
    with tempfile.TemporaryDirectory(prefix="kills-") as name, ExitStack() as cleanup:
        folder = Path(name)
        process, port = objects.start(
            folder / "objects", log=folder / "objects.log", access_key="kills", secret_key="kills-secret",
            bucket="kills",
        )  # fmt: skip
        cleanup.callback(objects.stop, process)
        store = StoreAddress(objects.server_url(port), "kills", "kills-secret", "kills")
        _preload()
        finish(fork(lambda: prepare(folder)))
        for method in METHODS:
            command = [sys.executable, "-m", "benchmarks.kills_child", method, str(folder), str(folder / "straight")]
            subprocess.run(command, check=True, capture_output=True)
            reference = [(folder / "straight" / "out" / file).read_bytes() for file in ADAPTER]
            shutil.rmtree(folder / "straight")
            pace = measure_pace(method, folder, store)
            outcomes = []
            for story in draw_stories(method, count, random.Random(f"{seed}:{method}")):
                outcome = tell(story, folder, pace, store, reference)
                outcomes.append(outcome)
                where = "store, machine lost" if story.lost else "store" if story.stored else "no store"
                expected = "finished" if outcome.expected is None else f"step {outcome.expected}"
                aim = f"in {story.aim}" if story.aim else f"at {story.moment:.0%}"
                ending = "identical" if outcome.identical else "DIFFERENT"
                print(
                    f"{method} {story.number + 1:2}: killed {aim} → {outcome.phase}; {where}; "
                    f"goes on from {outcome.resumed} (left: {expected}); {ending}",
                    flush=True,
                )
            print(f"{method}: {dict(Counter(outcome.phase for outcome in outcomes))}", flush=True)
            went_on = sum(outcome.expected in (None, outcome.resumed) for outcome in outcomes)
            identical = sum(outcome.identical for outcome in outcomes)
            goals += [
                Goal(f"{method}: identical adapters after kill -9", identical, count, at_most=False),
                Goal(f"{method}: gone on from the newest complete checkpoint", went_on, count, at_most=False),
            ]
    return goals


def _preload() -> None:
    """Imports what a training needs and computes nothing, so that forks start at once."""
    import datasets
    import peft
    import torch
    import transformers
    import trl.trainer.dpo_trainer
    import trl.trainer.sft_trainer

    loaded = (torch, transformers, trl, peft, datasets)
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    threads = names - {Path(sys.executable).name, "python", "jemalloc_bg_thd"}  # Arrow's allocator minds forks itself
    if threads or not all(loaded):
        raise RuntimeError(f"expected one thread before forking, found {', '.join(sorted(threads))} as well")


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "HF_HUB_OFFLINE"):
        os.environ[variable] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    sys.exit(
        report(
            measure,
            "kill -9 at random moments of SFT and DPO, with and without a store",
            {"seed": {"type": int, "default": 4, "help": "decides the moments (default: 4)"}},
        )
    )
