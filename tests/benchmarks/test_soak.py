"""The soak's own judgement: a schedule that breaks everything, and checks that find what is lost, doubled or grown."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak.checks import Memory, check_stored, percentile, sum_samples
from benchmarks.soak.faults import KINDS, plan_faults
from benchmarks.soak.place import Place, wait_until
from benchmarks.soak.record import MODEL, Recording
from benchmarks.soak.traffic import Tally, Traffic
from flytewheel.database import connect
from tests.processes import runs

ROOT = Path(__file__).resolve().parents[2]
RECORDING = Recording((f'data: {{"model":"{MODEL}"}}\n\n', "data: [DONE]\n\n"), f'{{"model":"{MODEL}"}}')


@pytest.mark.parametrize("seconds", [60.0, 600.0, 3600.0])
@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_breaks_every_kind_one_after_the_other_and_leaves_time_to_recover(seconds: float, seed: int) -> None:
    faults = plan_faults(seconds, seed, workers=2)
    assert faults == plan_faults(seconds, seed, workers=2)
    assert {fault.kind for fault in faults} == set(KINDS)
    ends = [fault.at_s + fault.away_s for fault in faults]
    assert all(end <= later.at_s for end, later in zip(ends, faults[1:], strict=False))
    assert faults[0].at_s >= 0.1 * seconds
    assert ends[-1] <= 0.87 * seconds
    assert all(fault.place == 0 for fault in faults if fault.at_s >= seconds / 2)
    assert all(fault.at_s < 0.55 * seconds for fault in faults if fault.kind == "keeper")


def test_memory_that_grows_is_told_from_memory_that_wavers() -> None:
    def memory(grow: float) -> Memory:
        at_s = [float(second) for second in range(0, 600, 2)]
        return Memory("worker", at_s, [100 + grow * at / 600 + (at % 7) for at in at_s])

    assert memory(0).grown(120, 600) == pytest.approx(0, abs=1.5)
    assert memory(100).grown(120, 600) == pytest.approx(100 * 0.6, rel=0.1)  # between the middles of two quarters
    assert memory(100).slope(120, 600) == pytest.approx(10, rel=0.1)
    assert Memory("killed", [0.0, 100.0], [1.0, 2.0]).grown(120, 600) is None


def judge(text: str, *, streamed: bool) -> tuple[str, Any]:
    traffic = Traffic("", "", "soak", [RECORDING], rate=1, seed=1)
    headers = {"x-flytewheel-version": "v1", "x-flytewheel-interaction": "i", "x-flytewheel-receipt": "r"}
    return traffic._judge(0, text.encode(), streamed, headers)


@pytest.mark.parametrize(
    ("text", "streamed", "outcome"),
    [
        ('data: {"model":"flytewheel/soak@v1"}\n\ndata: [DONE]\n\n', True, "answered"),
        ('data: {"model":"flytewheel/soak@v1"}\n\n', True, "broken"),
        ('data: {"model":"flytewheel/soak@v1"}\n\ndata: {"error":{}}\n\n', True, "broken"),
        ('data: {"model":"flytewheel/soak@v2"}\n\ndata: [DONE]\n\n', True, "wrong"),
        ('{"model":"flytewheel/soak@v1"}', False, "answered"),
        ('{"model":"flytewheel/soak@v1"} ', False, "wrong"),
    ],
)
def test_an_answer_counts_only_byte_for_byte(text: str, streamed: bool, outcome: str) -> None:
    assert judge(text, streamed=streamed)[0] == outcome


def store(database_url: str, number: int, *, event: str, kind: str = "thumbs_up", said: int | None = None) -> None:
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO interactions (interaction_id, source, user_id, timestamp, body, digest)"
            " VALUES (%s, 'soak', 'u', now(), '{}', 'd') ON CONFLICT DO NOTHING",
            (f"i{number}",),
        )
        connection.execute(
            "INSERT INTO feedback_events (event_id, interaction_id, source, user_id, feedback_type, timestamp, body,"
            " digest, metadata) VALUES (%s, %s, 'soak', 'u', %s, now(), '{}', 'd',"
            " jsonb_build_object('number', %s::int))",
            (event, f"i{number}", kind, number if said is None else said),
        )


def test_what_was_acknowledged_is_compared_by_id(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "database_url", database_url)
    place = object.__new__(Place)
    tally = Tally()
    for number in (1, 3, 5, 7, 9):
        tally.acknowledged[f"e{number}"] = (f"i{number}", number)
        tally.answered[f"i{number}"] = number
    store(database_url, 1, event="e1")  # as it was told
    store(database_url, 3, event="e3")
    store(database_url, 3, event="again")  # a second one of the same answer
    store(database_url, 5, event="e5", said=6)  # another one's
    store(database_url, 7, event="e7", kind="thumbs_down")
    found = check_stored(place, tally)
    assert (found.lost, found.doubled, found.changed, found.without_interaction, found.unlogged) == (1, 1, 2, 1, 1)


def test_figures_of_samples() -> None:
    text = '# TYPE a counter\na_total{x="1"} 2\na_total{x="2"} 3\n# TYPE b gauge\nb 7\n'
    assert sum_samples(text, "a_total") == 5
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0


def test_what_a_killed_soak_had_started_ends_with_it() -> None:
    mark = uuid.uuid4().hex
    child = f"import sys, time; time.sleep(600)  # {mark}"
    code = (
        "import subprocess, sys, os, signal\n"
        "from benchmarks.soak.reaper import Reaper\n"
        "reaper = Reaper()\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "reaper.watch(child.pid)\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    pid = int(ended.stdout)

    wait_until(lambda: not runs(pid, mark), "the child ended", 20)
