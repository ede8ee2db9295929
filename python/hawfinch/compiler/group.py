"""Group: which nodes run as one record.

Design: elementwise neighbours become one program, and so do the elements of a loss and its gradient, which read the
same operands. A program takes the sum over each row of what only that sum reads into itself, as that of a loss.
A matmul runs a following program on its rows as an epilogue (activation; in the backward pass, its gradient).
A group of nodes runs at the place of its last node. Joining is legal when nothing outside the group that reads one of
its members stands before that place. Rejected: a search for the best cut: the test is local and cheap, and graphs of
this size gain nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from ..ir import Graph, Node, Shape, Step, Tensor
from ..ops.instructions import MAX_IN, MAX_OUT
from ..ops.reduction import REDUCE
from .program import ROW_SUMS, Program, ewise_fields, ewise_step, is_one_run, operands
from .rewrite import is_fused
from .show import stage, steps_text

MAX_NODES = 24  # in one program


class _Groups:
    """Which elementwise nodes run as one program."""

    def __init__(self, graph: Graph, outputs: Sequence[Tensor], apart: Iterable[Tensor]):
        self.kept, self.apart = set(outputs), set(apart)
        self.consumers: dict[Node, list[Node]] = {n: [] for n in graph.nodes}
        for n in graph.nodes:
            for t in n.inputs:
                self.consumers[t.node].append(n)
        self.members: dict[Node, list[Node]] = {}
        self.hosted: set[Node] = set()  # products that have an epilogue, and sums that a program makes
        self.fused = is_fused()
        for n in graph.nodes:
            if n.op.elementwise:
                if self.fused:
                    self._place(n)
                else:
                    self.members[n] = [n]

    def _place(self, n: Node) -> None:
        mine, shape = [n], n.outputs[0].shape
        made = [t.node for t in n.inputs if t.shape == shape]
        read = [c for m in made if m not in self.members for c in self.consumers[m] if c.index < n.index]
        for m in (*made, *read):
            group = self.members.get(m)
            if group is None or group is mine or len(group) + len(mine) > MAX_NODES:
                continue
            joined = sorted({*group, *mine}, key=attrgetter("index"))
            apart = m not in made and not self._is_only_summed(group)
            if apart or group[0].outputs[0].shape != shape:
                continue
            if self._legal(joined, n.index) and self._fits(joined):
                mine = joined
        for m in mine:
            self.members[m] = mine

    def _is_only_summed(self, group: list[Node]) -> bool:
        """As the loss of each element is."""
        readers = [c for m in group for c in self.consumers[m] if c not in group]
        return bool(readers) and all([c.op is REDUCE for c in readers]) and self.kept.isdisjoint(self.outputs_of(group))

    def _legal(self, group: list[Node], place: int) -> bool:
        inside = set(group)
        return all([c in inside or c.index > place for m in group for c in self.consumers[m]])

    def _fits(self, group: list[Node]) -> bool:
        most = 2 * MAX_OUT  # some of which later nodes take in
        return len(operands(group)) <= MAX_IN and len(self.outputs_of(group)) <= most

    def summed(self, program: Program, domain: Shape) -> dict[Tensor, Node]:
        """Outputs that only a sum over each row reads, with that sum."""
        found: dict[Tensor, Node] = {}
        for t in program.outputs if self.fused and len(domain) > 1 else ():
            readers = self.consumers[t.node]
            if len(readers) != 1 or t in self.kept or t.shape != domain:
                continue
            n = readers[0]
            if n.op is not REDUCE or n.attrs["kind"] not in ROW_SUMS or n.outputs[0] in self.apart:
                continue
            if (n.attrs["first"], n.attrs["last"]) == (1, len(domain)):
                found[t] = n
        return found if found and is_one_run(program, domain) else {}

    def outputs_of(self, group: Sequence[Node]) -> list[Tensor]:
        inside = set(group)
        return [m.outputs[0] for m in group if m.outputs[0] in self.kept or not inside.issuperset(self.consumers[m])]


def _programs(groups: _Groups, group: list[Node]) -> list[tuple[list[Node], Program]]:
    """The group's program; two of them where one needs too many registers."""
    try:
        program = Program(group, groups.outputs_of(group))
        if program.fits() and len(program.inputs) <= MAX_IN and len(program.outputs) <= MAX_OUT:
            return [(group, program)]
    except IndexError:
        pass
    half = len(group) // 2
    return _programs(groups, group[:half]) + _programs(groups, group[half:])


def _epilogue_host(groups: _Groups, program: Program, group: list[Node]) -> Tensor | None:
    """The product that this program can follow in the product's own record."""
    first, last = group[0].index, group[-1].index
    inside = set(group)
    domain = group[0].outputs[0].shape
    for t in program.inputs:
        m = t.node
        if not m.op.hosts_epilogue or t.shape != domain or m in groups.hosted or m.index > first:
            continue
        if all([c in inside or c.index > last for c in groups.consumers[m]]):
            return t
    return None


def fuse(graph: Graph, outputs: Sequence[Tensor], apart: Iterable[Tensor] = ()) -> list[Step]:
    """Steps that compute ``outputs`` (of a graph that ``rewrite`` gave), in order. apart: those whose memory holds what
    is read until they are written."""
    groups = _Groups(graph, outputs, apart)
    placed: dict[Node, list[Step]] = {}  # at this node's place
    done: set[int] = set()
    for node in graph.nodes:
        if node not in groups.members or id(groups.members[node]) in done:
            continue
        group = groups.members[node]
        done.add(id(group))
        for part, program in _programs(groups, group):
            domain, scope = part[0].outputs[0].shape, part[-1].scope
            host = _epilogue_host(groups, program, part) if groups.fused else None
            if host is None:
                summed = groups.summed(program, domain)
                groups.hosted.update(summed.values())
                step = ewise_step(program, domain, scope, summed)
            else:
                groups.hosted.add(host.node)
                step = _with_epilogue(_lowered(host.node)[0], host, program, part, groups)
            placed.setdefault(part[-1], []).append(step)
    steps: list[Step] = []
    for node in graph.nodes:
        steps += placed.get(node, [])
        if not (node.op.is_leaf or node.op.elementwise or node.op.is_view or node in groups.hosted):
            steps += _lowered(node)
    stage("fused", lambda: steps_text(steps))
    return steps


def _lowered(node: Node) -> list[Step]:
    assert node.op.lower is not None, node.op.name
    steps: list[Step] = node.op.lower(node)
    for step in steps:
        step.scope = node.scope
    return steps


def _with_epilogue(step: Step, y: Tensor, program: Program, group: list[Node], groups: _Groups) -> Step:
    domain = y.shape
    kept = y in groups.kept or not set(group).issuperset(groups.consumers[y.node])
    writes = list(program.outputs)
    if not kept:  # nobody else reads the product: it takes the memory of the program's last output
        i = next(i for i, t in enumerate(program.inputs) if t is y)
        for j, w in enumerate(writes):
            if program.last_read.get(i, -1) <= program.written[j] and w not in groups.apart:
                step.fields["y"] = w
                program.inputs[i] = w
                break
        else:
            kept = True
    known = {y, *writes}
    others = [t for t in program.inputs if t not in known]
    whole = set(step.reads).difference(step.local)  # the product reads all rows of these
    step.fields["epilogue"] = ewise_fields(program, domain, writes)
    step.in_place = ()
    if groups.apart:
        product = set(step.reads)
        like = [t for t in others if t.shape == domain and t not in product]
        last = {t: program.last_read.get(i, -1) for i, t in enumerate(program.inputs)}
        apart = [(j, w) for j, w in enumerate(writes) if w in groups.apart]
        step.in_place = tuple([(w, t) for j, w in apart for t in like if last[t] <= program.written[j]])
    step.writes = (*writes, y) if kept else tuple(writes)
    step.reads = (*step.reads, *others)
    if not step.fields["by_cols"]:
        row_local = [t for t in others if len(t.shape) == len(domain) and t.shape[:1] == domain[:1] and t not in whole]
        step.local = (*[t for t in step.local if t is not y], *step.writes, *row_local)
    step.code = tuple(program.names)
    return step
