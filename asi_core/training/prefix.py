"""Splitting a model where training begins.

What comes before the first trained parameter is a constant of the image. It is split off as the
frozen prefix, by following the traced graph. Several values may cross the cut, as with residual
connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.fx import GraphModule, Node

from asi_core.errors import Unsupported
from asi_core.layers.lean import LayerTracer


@dataclass(frozen=True, slots=True)
class SplitModel:
    """A model in two parts that share its modules.

    Attributes:
        prefix: images to a tuple of crossing values; nothing in it is trained.
        tail: crossing values, as separate arguments, to logits.
        crossing: names of the crossing values in the traced graph.
    """

    prefix: GraphModule
    tail: GraphModule
    crossing: tuple[str, ...]


def split_frozen(model: nn.Module) -> SplitModel:
    """Split `model` at the first values that depend on a trained parameter.

    Raises:
        Unsupported: if the model cannot be traced, or nothing in it is trained.
    """
    try:
        graph = LayerTracer().trace(model)
    except Exception as error:
        raise Unsupported(
            f"{type(model).__name__} cannot be traced by torch.fx ({error}): "
            "its forward must not branch on values."
        ) from error
    trained = _trained_nodes(model, graph)
    if not trained:
        raise Unsupported(f"no parameter of {type(model).__name__} requires a gradient.")
    constants = constants_of(graph)
    crossing = [n for n in graph.nodes if _crosses(n, trained) and n not in constants]
    prefix = part_of(model, graph, [n for n in graph.nodes if n not in trained], outputs=crossing)
    tail = part_of(model, graph, [n for n in graph.nodes if n in trained], inputs=crossing)
    return SplitModel(prefix, tail, tuple(node.name for node in crossing))


def cut_prefix(prefix: GraphModule, names: Sequence[str]) -> tuple[GraphModule, GraphModule] | None:
    """Cut a prefix in two at the values called `names`.

    Returns:
        images to those values, and those values to the prefix's own results; None if the prefix
        does not compute all of them, or needs others besides them.
    """
    graph = prefix.graph
    cut = [node for node in graph.nodes if node.name in names and node.op != "output"]
    if len(cut) != len(names):
        return None
    (output,) = (node for node in graph.nodes if node.op == "output")
    results: list[Node] = list(output.args[0])
    needed = _ancestors(results, stop=set(cut))
    if any(node.op == "placeholder" and node not in cut for node in needed):
        return None
    first = _ancestors(cut, stop=set())
    return (
        part_of(prefix, graph, [n for n in graph.nodes if n in first], outputs=cut),
        part_of(
            prefix,
            graph,
            [n for n in graph.nodes if n in needed and n not in cut],
            inputs=cut,
            outputs=results,
        ),
    )


def _ancestors(nodes: Sequence[Node], stop: set[Node]) -> set[Node]:
    """`nodes` and everything they are computed from, without searching beyond `stop`."""
    found: set[Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [] if node in stop else node.all_input_nodes
    return found


def _trained_nodes(model: nn.Module, graph: fx.Graph) -> set[Node]:
    trained: set[Node] = set()
    for node in graph.nodes:
        if _has_trained_parameter(model, node) or any(n in trained for n in node.all_input_nodes):
            trained.add(node)
    return trained


def _has_trained_parameter(model: nn.Module, node: Node) -> bool:
    if node.op == "call_module":
        return any(p.requires_grad for p in model.get_submodule(str(node.target)).parameters())
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        value = getattr(model.get_submodule(owner), name)
        return isinstance(value, Tensor) and value.requires_grad
    return False


def _crosses(node: Node, trained: set[Node]) -> bool:
    """Whether a frozen value feeds a trained node."""
    return node not in trained and any(user in trained for user in node.users)


def constants_of(graph: fx.Graph) -> set[Node]:
    """The nodes that depend on no input, such as a table of relative position biases.

    They do not cross from one part to another, but are copied.
    """
    found: set[Node] = set()
    for node in graph.nodes:
        is_input = node.op in ("placeholder", "output")
        if not is_input and all(source in found for source in node.all_input_nodes):
            found.add(node)
    return found


def part_of(
    model: nn.Module,
    graph: fx.Graph,
    nodes: list[Node],
    *,
    inputs: list[Node] | None = None,
    outputs: list[Node] | None = None,
) -> GraphModule:
    """A module of `nodes`; `inputs` become its arguments, or `outputs` its tuple of results.

    Raises:
        Unsupported: if a node only changes a value in place: no result depends on it, and the value
            may belong to another part.
    """
    for node in nodes:
        if not node.users and node.op != "output" and _is_in_place(model, node):
            raise Unsupported(
                f"{node.name} changes a value in place and its result is not used: write "
                "x = f(x) instead of f(x)."
            )
    part, constants = fx.Graph(), constants_of(graph)
    known: dict[Node, Node] = {node: part.placeholder(node.name) for node in inputs or []}

    def copied(node: Node) -> Node:
        if node not in known and node in constants:
            known[node] = part.node_copy(node, copied)
        return known[node]

    for node in nodes:
        known[node] = part.node_copy(node, copied)
    if outputs is not None:
        part.output(tuple(known[node] for node in outputs))
    module = GraphModule(model, part)
    part.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    module.training = model.training
    return module


def _is_in_place(model: nn.Module, node: Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(model.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    is_named_so = name.endswith("_") and not name.endswith("__")
    # For functions of `torch.nn.functional`: the argument `inplace`, by name or by position.
    message = node.kwargs.get("inplace", False) or any(value is True for value in node.args)
    return is_named_so or (node.op == "call_function" and bool(message))


def crossing_values(values: Any) -> tuple[Tensor, ...]:
    """The prefix's results, checked: the first mode of every value must be the batch."""
    if not all(isinstance(value, Tensor) and value.dim() > 0 for value in values):
        raise Unsupported("only tensors may pass from the frozen to the trained part.")
    return tuple(values)
