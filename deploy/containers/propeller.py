"""Walks a serialised workflow in its order, as Flyte's propeller does, for what flytewheel's workflows are made of.

Handled: tasks, subworkflows, conditionals, map tasks over one input file, dynamic tasks, sleeps (passed over at once),
approvals (given by whoever runs this), and the failure node. Refused, by name: launch plan nodes, signals, and whatever
else Flyte may have. Nodes run one after the other; caching is left out, so that every task really runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flyteidl.core import dynamic_job_pb2, literals_pb2, types_pb2

from deploy.containers import ContainersError
from deploy.containers.graph import Literals, Scope, bind, choose_branch, order_nodes
from deploy.containers.targets import find_container


class TaskFailedError(ContainersError):
    """A task failed for good. `code` is Flyte's or Kubernetes' word, `kind` says whether trying again was allowed."""

    def __init__(self, path: str, code: str, message: str, kind: str) -> None:
        super().__init__(f"{path}: {code}: {message.strip().splitlines()[-1].strip() if message.strip() else kind}")
        self.path, self.code, self.message, self.kind = path, code, message, kind


@dataclass(frozen=True)
class TaskCall:
    """One task to run to its end.

    Attributes:
        template: of the task, with the container's command.
        path: of the node in the execution, such as `n1-n0-n2`; names where things lie in the store.
        retries: how often it may be tried again.
        resources: those that the node has instead of the template's, if any.
        inputs: by name.
        index: of the item, in a map task.
    """

    template: Any
    path: str
    retries: int
    inputs: Literals
    resources: Any = None
    index: int | None = None


# Runs one task; its outputs, or the nodes that a dynamic task has made.
RunTask = Callable[[TaskCall], Any]


@dataclass(frozen=True)
class Registered:
    """What `pyflyte register` would send: task templates and workflow templates by name."""

    tasks: Mapping[str, Any]
    workflows: Mapping[str, Any]

    def with_dynamic(self, spec: Any) -> Registered:
        """Together with what a dynamic task brings along."""
        return Registered(
            {**self.tasks, **{task.id.name: task for task in spec.tasks}},
            {**self.workflows, **{flow.id.name: flow for flow in spec.subworkflows}},
        )


@dataclass
class Propeller:
    """Runs workflows with `run_task`; `approve` answers approvals (default: no), `told` keeps what was said."""

    registered: Registered
    run_task: RunTask
    approve: Callable[[str], bool] = lambda node: False
    told: list[str] = field(default_factory=list)

    def run_workflow(self, name: str, inputs: Literals) -> dict[str, Any]:
        """Runs a workflow to its end; when a task fails, its failure node first, and then that failure is raised.

        Raises:
            TaskFailedError: a task failed for good.
            ContainersError: the workflow has something that is not handled here.
        """
        return self._run_template(self.registered, self._find(self.registered.workflows, name), inputs, "")

    def _run_template(self, known: Registered, template: Any, inputs: Literals, above: str) -> dict[str, Any]:
        try:
            scope = self._run_nodes(known, template.nodes, {"": inputs}, above)
            return bind(template.outputs, scope)
        except TaskFailedError as failure:
            if template.HasField("failure_node"):
                node = template.failure_node
                wanted = self._find(known.tasks, node.task_node.reference_id.name).interface.inputs.variables
                given = bind([one for one in node.inputs if one.var in inputs], {"": inputs})
                given |= {var: _describe_failure(kind.type, failure) for var, kind in wanted.items() if var == "err"}
                self._run_node(known, node, given, above)
            raise

    def _run_nodes(self, known: Registered, nodes: Sequence[Any], begun: Scope, above: str) -> Scope:
        scope = dict(begun)
        for node in order_nodes(nodes):
            scope[node.id] = self._run_node(known, node, bind(node.inputs, scope), above, scope)
        return scope

    def _run_node(
        self, known: Registered, node: Any, inputs: Literals, above: str, scope: Scope | None = None
    ) -> dict[str, Any]:
        path = f"{above}-{node.id}" if above else node.id
        kind = node.WhichOneof("target")
        if kind == "task_node":
            template = self._find(known.tasks, node.task_node.reference_id.name)
            resources = node.task_node.overrides.resources if node.task_node.HasField("overrides") else None
            call = TaskCall(template, path, _count_retries(node, template), inputs, resources)
            return self._finish(known, self.run_task(call), path)
        if kind == "workflow_node" and node.workflow_node.WhichOneof("reference") == "sub_workflow_ref":
            flow = self._find(known.workflows, node.workflow_node.sub_workflow_ref.name)
            return self._run_template(known, flow, inputs, path)
        if kind == "branch_node":
            chosen = choose_branch(node, inputs)
            # What it is given is bound where the conditional stands; its own id may be that of a node there.
            return self._run_node(known, chosen, bind(chosen.inputs, scope or {}), path, scope)
        if kind == "array_node":
            return self._map(known, node.array_node, inputs, path)
        if kind == "gate_node":
            return self._pass_gate(node, inputs, path)
        raise ContainersError(f"node {path} is a {kind or 'node of no kind'}, which is not handled here")

    def _map(self, known: Registered, array: Any, inputs: Literals, path: str) -> dict[str, Any]:
        node = array.node
        template = self._find(known.tasks, node.task_node.reference_id.name)
        mapped = [
            name
            for name, variable in template.interface.inputs.variables.items()
            if variable.type.WhichOneof("type") == "collection_type" and name not in _list_bound(template)
        ]
        counts = {len(inputs[name].collection.literals) for name in mapped}
        if len(counts) != 1:
            raise ContainersError(f"map task {path}: its lists {', '.join(mapped)} have {sorted(counts)} items")
        outputs: dict[str, list[Any]] = {name: [] for name in template.interface.outputs.variables}
        for index in range(counts.pop()):
            call = TaskCall(template, f"{path}-n{index}", _count_retries(node, template), inputs, None, index)
            one = self._finish(known, self.run_task(call), call.path)
            for name, found in outputs.items():
                found.append(one[name])
        return {
            name: literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=found))
            for name, found in outputs.items()
        }

    def _finish(self, known: Registered, made: Any, path: str) -> dict[str, Any]:
        if not isinstance(made, dynamic_job_pb2.DynamicJobSpec):
            return dict(made)
        inner = known.with_dynamic(made)
        return bind(made.outputs, self._run_nodes(inner, made.nodes, {"": {}}, path))

    def _pass_gate(self, node: Any, inputs: Literals, path: str) -> dict[str, Any]:
        gate = node.gate_node
        kind = gate.WhichOneof("condition")
        if kind == "sleep":
            self.told.append(f"{path} sleeps {gate.sleep.duration.seconds} s, which are passed over")
            return {}
        if kind == "approve":
            if not self.approve(gate.approve.signal_id):
                raise TaskFailedError(path, "Rejected", f"{gate.approve.signal_id} was not approved", "NON_RECOVERABLE")
            self.told.append(f"{path} is approved")
            return dict(inputs)
        raise ContainersError(f"node {path} waits for a {kind}, which is not handled here")

    @staticmethod
    def _find(known: Mapping[str, Any], name: str) -> Any:
        if name not in known:
            raise ContainersError(f"{name} is not among what was registered: {', '.join(sorted(known))}")
        return known[name]


def _count_retries(node: Any, template: Any) -> int:
    return int(node.metadata.retries.retries or template.metadata.retries.retries)


def _list_bound(template: Any) -> set[str]:
    """Inputs that a map task takes as they are: its resolver is told them as `vars a,b`."""
    args = list(find_container(template).args)
    return set(args[args.index("vars") + 1].split(",")) if "vars" in args else set()


def _describe_failure(kind: Any, failure: TaskFailedError) -> Any:
    """The `err` of a failure node: its type says whether it is an `Optional`."""
    error = types_pb2.Error(failed_node_id=failure.path, message=failure.message)
    found = literals_pb2.Literal(scalar=literals_pb2.Scalar(error=error))
    if kind.WhichOneof("type") != "union_type":
        return found
    variant = next(one for one in kind.union_type.variants if one.simple == types_pb2.ERROR)
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=found, type=variant)))
