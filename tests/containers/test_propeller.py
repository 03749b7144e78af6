"""The little propeller over what flytekit serialises: each task by its own command, in this process."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from flyteidl.core import dynamic_job_pb2, errors_pb2, literals_pb2, workflow_pb2
from flytekit.bin.entrypoint import _execute_map_task, _execute_task

from deploy.containers import ContainersError
from deploy.containers.graph import bind, order_nodes
from deploy.containers.propeller import Propeller, Registered, TaskCall, TaskFailedError
from deploy.containers.registration import Serialised, serialise
from deploy.containers.scenes import as_literal
from deploy.containers.targets import find_container, read_amount
from tests.containers import flows
from tests.containers.flows import Order

NAMES = ["empty", "negative", "two letters", "exponent", "bare", "no ASCII digit"]
TURN, FALL = "tests.containers.flows.turn", "tests.containers.flows.fall"


pytestmark = pytest.mark.filterwarnings("ignore:`disable_deck` is deprecated")  # flytekit's own entry point asks


@pytest.fixture(scope="module")
def serialised() -> Serialised:
    return serialise([flows.turn, flows.fall], project="p", domain="d", version="v")


class Here:
    """Runs a task's own command in this process, with files for the store."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.calls: list[str] = []
        self._count = itertools.count()

    def __call__(self, call: TaskCall) -> Any:
        self.calls.append(f"{call.path} {call.template.id.name.rpartition('.')[2].partition('_6')[0]}")
        place = self.folder / str(next(self._count))
        place.mkdir()
        inputs = place / "inputs.pb"
        inputs.write_bytes(literals_pb2.LiteralMap(literals=call.inputs).SerializeToString())
        target = find_container(call.template)
        args = list(target.args)
        for key, value in target.environ.items():
            self.monkeypatch.setenv(key, value)
        resolver, rest = args[args.index("--resolver") + 1], args[args.index("--") + 1 :]
        given = {"inputs": str(inputs), "output_prefix": str(place), "raw_output_data_prefix": str(place / "raw")}
        if call.index is not None:
            assert args[0] == "pyflyte-map-execute"
            self.monkeypatch.setenv("BATCH_JOB_ARRAY_INDEX_VAR_NAME", "FLYTE_K8S_ARRAY_INDEX")
            self.monkeypatch.setenv("FLYTE_K8S_ARRAY_INDEX", str(call.index))
            _execute_map_task(**given, max_concurrency=0, test=False, resolver=resolver, resolver_args=rest)
        else:
            _execute_task(**given, test=False, resolver=resolver, resolver_args=rest)
        return read_outcome(call, place)


def read_outcome(call: TaskCall, place: Path) -> Any:
    if (found := place / "error.pb").exists():
        error = errors_pb2.ErrorDocument.FromString(found.read_bytes()).error
        raise TaskFailedError(call.path, error.code, error.message, str(error.kind))
    if (found := place / "futures.pb").exists():
        return dynamic_job_pb2.DynamicJobSpec.FromString(found.read_bytes())
    return literals_pb2.LiteralMap.FromString((place / "outputs.pb").read_bytes()).literals


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("FLYTE_INTERNAL_EXECUTION_ID", "x")
    monkeypatch.setattr("flytekit.bin.entrypoint._get_stats", lambda **_: None)  # its socket is never closed
    return Here(tmp_path, monkeypatch)


def run(serialised: Serialised, here: Here, name: str, value: Any, key: str = "order") -> dict[str, Any]:
    return Propeller(serialised.registered, here).run_workflow(name, {key: as_literal(value)})


def number(outputs: dict[str, Any]) -> int:
    return int(outputs["o0"].scalar.primitive.integer)


def test_a_workflow_runs_in_its_order_with_maps_dynamics_and_conditionals(serialised: Serialised, here: Here) -> None:
    """deal: 0 1 2 3; each times len("four") = 4: 0 4 8 12, sum 24; the dynamic task adds that up twice: 48."""
    outputs = run(serialised, here, TURN, Order(count=4, word="four"))
    assert number(outputs) == 48
    names = [call.split(" ")[1] for call in here.calls]
    assert names[0] == "deal"
    assert [name.startswith("map_scale") for name in names[1:5]] == [True] * 4
    assert names[5:] == ["add_twice", "add", "add", "add"]
    paths = [call.split(" ")[0] for call in here.calls]
    assert len(set(paths)) == len(paths)  # each has a place of its own in the store


def test_a_conditional_goes_the_other_way(serialised: Serialised, here: Here) -> None:
    assert number(run(serialised, here, TURN, Order(count=1))) == -3
    assert [call.split(" ")[1] for call in here.calls] == ["deal", "give_up"]


def test_a_failure_runs_the_failure_node_and_is_raised(serialised: Serialised, tmp_path: Path) -> None:
    given: list[TaskCall] = []

    def run_task(call: TaskCall) -> Any:
        given.append(call)
        if call.template.id.name.endswith("deal"):
            raise TaskFailedError(call.path, "USER:ValueError", "Message:\n\n  ValueError: it broke", "NON_RECOVERABLE")
        return {}

    with pytest.raises(TaskFailedError, match="ValueError: it broke"):
        Propeller(serialised.registered, run_task).run_workflow(TURN, {"order": as_literal(Order())})
    assert [call.template.id.name.rpartition(".")[2] for call in given] == ["deal", "note"]
    said = given[1].inputs["err"].scalar.union.value.scalar.error
    assert (said.failed_node_id, "it broke" in said.message) == ("n0", True)
    assert given[1].inputs["order"] == as_literal(Order())
    assert [call.retries for call in given] == [2, 0]


def test_the_error_reaches_the_failure_node_s_own_task(serialised: Serialised, here: Here, capsys: Any) -> None:
    def run_task(call: TaskCall) -> Any:
        if call.template.id.name.endswith("deal"):
            raise TaskFailedError(call.path, "USER", "it broke", "NON_RECOVERABLE")
        return here(call)

    with pytest.raises(TaskFailedError):
        Propeller(serialised.registered, run_task).run_workflow(TURN, {"order": as_literal(Order(word="so"))})
    assert "noted so" in capsys.readouterr().out


def test_what_it_cannot_do_is_refused_by_name() -> None:
    node = workflow_pb2.Node(id="n0")
    node.workflow_node.launchplan_ref.name = "another"
    template = workflow_pb2.WorkflowTemplate(nodes=[node])
    propeller = Propeller(Registered({}, {"w": template}), lambda call: {})
    with pytest.raises(ContainersError, match="n0 is a workflow_node"):
        propeller.run_workflow("w", {})
    with pytest.raises(ContainersError, match="not among what was registered"):
        propeller.run_workflow("v", {})


def test_gates_are_passed_as_they_are_told() -> None:
    sleep, approve = workflow_pb2.Node(id="n0"), workflow_pb2.Node(id="n1", upstream_node_ids=["n0"])
    sleep.gate_node.sleep.duration.seconds = 3600
    approve.gate_node.approve.signal_id = "go"
    template = workflow_pb2.WorkflowTemplate(nodes=[approve, sleep])
    registered = Registered({}, {"w": template})
    allowed = Propeller(registered, lambda call: {}, approve=lambda name: name == "go")
    assert allowed.run_workflow("w", {}) == {}
    assert allowed.told == ["n0 sleeps 3600 s, which are passed over", "n1 is approved"]
    with pytest.raises(TaskFailedError, match="go was not approved"):
        Propeller(registered, lambda call: {}).run_workflow("w", {})


def test_nodes_that_wait_for_each_other_are_no_workflow() -> None:
    nodes = [workflow_pb2.Node(id="a", upstream_node_ids=["b"]), workflow_pb2.Node(id="b", upstream_node_ids=["a"])]
    with pytest.raises(ContainersError, match="a, b wait for each other"):
        order_nodes(nodes)


def test_a_promise_of_nothing_is_refused() -> None:
    binding = literals_pb2.Binding(var="x")
    binding.binding.promise.node_id = "n7"
    binding.binding.promise.var = "o0"
    with pytest.raises(ContainersError, match="output o0 of node n7"):
        bind([binding], {"": {}})


@pytest.mark.parametrize(("text", "amount"), [("500m", 0.5), ("2", 2), ("64Gi", 64 << 30), ("1.5Gi", 3 << 29)])
def test_amounts_are_kubernetes_own(text: str, amount: float) -> None:
    assert read_amount(text) == amount


@pytest.mark.parametrize("text", ["", "-1", "2GiB", "1e3", "Gi", "\u0661"], ids=NAMES)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ContainersError, match="no amount"):
        read_amount(text)
