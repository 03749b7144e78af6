"""What the nodes of a serialised workflow get, in which order they run, and which way a conditional takes.

Pure functions over Flyte's protobuf (`flyteidl.core`): the bindings that flytekit wrote are the truth, nothing of the
workflows' Python is looked at. What is here follows Flyte's propeller; what is not here is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgpack
from flyteidl.core import condition_pb2, literals_pb2

from deploy.containers import ContainersError

START = ("", "start-node")  # a promise of these is an input of the workflow
MSGPACK = "msgpack"

Literals = Mapping[str, Any]  # name of an input or output: literals_pb2.Literal
Scope = Mapping[str, Literals]  # id of a node: its outputs; the workflow's inputs are those of ""


def order_nodes(nodes: Sequence[Any]) -> list[Any]:
    """Nodes so that each comes after those that it waits for.

    Raises:
        ContainersError: they wait for each other, or for one that is not there.
    """
    left = {node.id: node for node in nodes}
    ordered: list[Any] = []
    while left:
        ready = [node for node in left.values() if not any(name in left for name in _list_upstream(node))]
        if not ready:
            raise ContainersError(f"nodes {', '.join(sorted(left))} wait for each other: this is no workflow")
        ordered += ready
        for node in ready:
            del left[node.id]
    return ordered


def bind(bindings: Iterable[Any], scope: Scope) -> dict[str, Any]:
    """The literals that bindings stand for.

    Raises:
        ContainersError: one of them names what is not in `scope`, or is of a kind that is not handled here.
    """
    return {binding.var: _resolve(binding.binding, scope) for binding in bindings}


def choose_branch(node: Any, inputs: Literals) -> Any:
    """The node that a conditional goes on with.

    Raises:
        ContainersError: no case holds and there is none for that; its own message where the workflow has one.
    """
    ways = node.branch_node.if_else
    for block in (ways.case, *ways.other):
        if _holds(block.condition, inputs):
            return block.then_node
    if ways.WhichOneof("default") == "else_node":
        return ways.else_node
    raise ContainersError(
        f"conditional {node.id}: no case holds{': ' + ways.error.message if ways.error.message else ''}"
    )


def _list_upstream(node: Any) -> set[str]:
    found = set(node.upstream_node_ids)
    for binding in node.inputs:
        found |= _list_promised(binding.binding)
    return found - set(START) - {node.id}


def _list_promised(data: Any) -> set[str]:
    kind = data.WhichOneof("value")
    if kind == "promise":
        return {data.promise.node_id}
    if kind == "collection":
        return set().union(*map(_list_promised, data.collection.bindings))
    if kind == "map":
        return set().union(*map(_list_promised, data.map.bindings.values()))
    return set()


def _resolve(data: Any, scope: Scope) -> Any:
    kind = data.WhichOneof("value")
    if kind == "scalar":
        return literals_pb2.Literal(scalar=data.scalar)
    if kind == "collection":
        found = [_resolve(one, scope) for one in data.collection.bindings]
        return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=found))
    if kind == "map":
        named = {key: _resolve(one, scope) for key, one in data.map.bindings.items()}
        return literals_pb2.Literal(map=literals_pb2.LiteralMap(literals=named))
    if kind != "promise":
        raise ContainersError(
            f"a binding of kind {kind} is not handled here: scalars, collections, maps and promises are"
        )
    promise = data.promise
    node = "" if promise.node_id in START else promise.node_id
    try:
        found = scope[node][promise.var]
    except KeyError:
        raise ContainersError(
            f"output {promise.var} of node {node or 'start'} is asked for, and there is none"
        ) from None
    return _follow(found, [getattr(step, step.WhichOneof("value")) for step in promise.attr_path])


def _follow(literal: Any, path: Sequence[str | int]) -> Any:
    """Part of a literal: of a list, a map, or a record in MessagePack, whose part stays in MessagePack."""
    for position, step in enumerate(path):
        kind = literal.WhichOneof("value")
        if kind == "collection":
            literal = literal.collection.literals[int(step)]
        elif kind == "map":
            literal = literal.map.literals[str(step)]
        elif kind == "scalar" and literal.scalar.binary.tag == MSGPACK:
            value = msgpack.unpackb(literal.scalar.binary.value, strict_map_key=False)
            for inner in path[position:]:
                value = value[inner]
            binary = literals_pb2.Binary(value=msgpack.packb(value), tag=MSGPACK)
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))
        else:
            raise ContainersError(
                f"part {step!r} of a {kind} is asked for: only lists, maps and MessagePack have parts"
            )
    return literal


def _holds(expression: Any, inputs: Literals) -> bool:
    if expression.WhichOneof("expr") == "conjunction":
        both = expression.conjunction
        left = _holds(both.left_expression, inputs)
        right = _holds(both.right_expression, inputs)
        return left and right if both.operator == condition_pb2.ConjunctionExpression.AND else left or right
    comparison = expression.comparison
    left, right = (_read_operand(side, inputs) for side in (comparison.left_value, comparison.right_value))
    operators = condition_pb2.ComparisonExpression
    if comparison.operator == operators.EQ:
        return bool(left == right)
    if comparison.operator == operators.NEQ:
        return bool(left != right)
    return {
        operators.GT: lambda: bool(left > right),
        operators.GTE: lambda: bool(left >= right),
        operators.LT: lambda: bool(left < right),
        operators.LTE: lambda: bool(left <= right),
    }[comparison.operator]()


def _read_operand(operand: Any, inputs: Literals) -> Any:
    kind = operand.WhichOneof("val")
    if kind == "var":
        if operand.var not in inputs:
            raise ContainersError(f"a condition asks for {operand.var}, and there is no such input")
        scalar = inputs[operand.var].scalar
        if scalar.WhichOneof("value") == "union":
            scalar = scalar.union.value.scalar
    else:
        scalar = operand.scalar if kind == "scalar" else literals_pb2.Scalar(primitive=operand.primitive)
    if scalar.WhichOneof("value") == "none_type":
        return None
    if scalar.WhichOneof("value") != "primitive":
        raise ContainersError(f"a condition compares a {scalar.WhichOneof('value')}: Flyte compares primitives only")
    primitive = scalar.primitive
    return getattr(primitive, primitive.WhichOneof("value"))
