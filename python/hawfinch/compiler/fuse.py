"""Fuse: from graph nodes to steps.

Design
(a) Rewriting works on the finished graph, gradients included, so the backward pass gains as much as the forward one:
      an op without a kernel             -> its parts, a normalisation among them
      its mask of relu in the backward   -> made anew, where the gradient comes from memory
      product + sum                      -> one instruction, rounded once
      cross-entropy and its gradient     -> one pass over the logits, when the gradient does not wait for the loss
      transpose before matmul            -> strides
      matmul + bias                      -> bias in the accumulators
      elementwise neighbours             -> one program
      matmul before a program            -> the program is its epilogue (activation; in backward, activation gradient)
(b) A group of nodes runs at the place of its last node. Joining is legal when nothing outside the group that reads
    one of its members stands before that place. That test is local and cheap; a search for the best cut is not worth
    it for graphs of this size.
Rejected: fusing while tracing (the gradient of a fused op would need a rule of its own).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir import CONST, PARAM, SCALAR, STATE, Graph, Node, Step, Tensor, apply, numel, tracing
from ..ops.elementwise import ADD, COPY, FMA, FMS, FNMA, MUL, RELU_MASK, SQUARE, SUB
from ..ops.normalization import NORM_GRAD, normalize_again, normalize_under_relu
from ..ops.shape import TRANSPOSE
from ..ops.softmax import CROSS_ENTROPY, CROSS_ENTROPY_BOTH, CROSS_ENTROPY_GRAD
from .program import MAX_IN, MAX_OUT, Program, ewise_fields, ewise_step, operands

MAX_NODES = 24  # in one program


def live_nodes(graph: Graph, outputs: Iterable[Tensor]) -> list[Node]:
    """Nodes that the outputs depend on, in order."""
    live = {t.node for t in outputs}
    for node in reversed(graph.nodes):
        if node in live:
            live.update([t.node for t in node.inputs])
    return [n for n in graph.nodes if n in live]


def _depends_on(t: Tensor, target: Node, pairs: dict[Node, Node]) -> bool:
    """Whether t needs target, where each loss of ``pairs`` comes with its gradient and so needs what that needs."""
    stack, seen = [t.node], set()
    while stack:
        node = stack.pop()
        if node is target:
            return True
        if node not in seen and (pairs or node.index > target.index):
            seen.add(node)
            stack.extend([x.node for x in node.inputs])
            if node in pairs:
                stack.extend([x.node for x in pairs[node].inputs])
    return False


def _cross_entropy_pairs(nodes: Sequence[Node]) -> dict[Node, Node]:
    """cross-entropy node -> its gradient node, where both can be one pass."""
    losses = {(*map(id, n.inputs), n.attrs["smoothing"]): n for n in nodes if n.op is CROSS_ENTROPY}
    pairs: dict[Node, Node] = {}
    for n in nodes:
        if n.op is CROSS_ENTROPY_GRAD:
            loss = losses.get((*map(id, n.inputs[:2]), n.attrs["smoothing"]))
            if loss is not None and loss not in pairs and not _depends_on(n.inputs[2], loss, pairs):
                pairs[loss] = n
    return pairs


def _contract(nodes: Sequence[Node], outputs: Sequence[Tensor]) -> list[Node]:
    """The nodes that are left when a product that only a sum reads is part of it: rounded once, an instruction less.

    By the graph alone, whatever the programs will be; so the bits don't depend on how nodes are grouped.
    """
    readers: dict[Node, int] = {}
    for n in nodes:
        for t in n.inputs:
            readers[t.node] = readers.get(t.node, 0) + 1
    kept = {t.node for t in outputs}
    absorbed = set()
    for n in nodes:
        if n.op is not ADD and n.op is not SUB:
            continue
        for i, t in enumerate(n.inputs):
            m = t.node
            if m.op in (MUL, SQUARE) and readers[m] == 1 and m not in kept and t.shape == n.outputs[0].shape:
                a, b = m.inputs if m.op is MUL else m.inputs * 2
                if a.node.op is SCALAR:
                    a, b = b, a
                n.op = FMA if n.op is ADD else FMS if i == 0 else FNMA
                n.inputs = (a, b, n.inputs[1 - i])
                absorbed.add(m)
                break
    return [n for n in nodes if n not in absorbed]


class _Rewrite:
    """Replays nodes into a new graph; ``to``: id of an old tensor -> new tensor."""

    def __init__(self, graph: Graph, nodes: Sequence[Node]):
        self.graph = Graph(training=graph.training)
        self.graph.n_streams = graph.n_streams
        self.to: dict[int, Tensor] = {}
        self.pairs = _cross_entropy_pairs(nodes)
        self.losses = {grad: loss for loss, grad in self.pairs.items()}

    def node(self, node: Node) -> None:
        """The node after all that it needs. Depth first without recursion: nets can be hundreds of layers deep."""
        stack = [node]
        while stack:
            top = stack[-1]
            waiting = [t.node for t in top.inputs if id(t) not in self.to]
            if waiting:
                stack.extend(waiting)
            elif id(stack.pop().outputs[0]) not in self.to:
                self._replay(top)

    def _norm(self, node: Node) -> tuple[Tensor, ...]:
        """x, mean, var, gamma and beta of a normalize node, in the new graph."""
        (x, gamma, beta), (_, mean, var) = node.inputs, node.outputs
        return tuple([self.to[id(t)] for t in (x, mean, var, gamma, beta)])

    def _replay(self, node: Node) -> None:
        to = self.to
        self.graph.scope = node.scope
        if node in self.pairs:  # what the gradient needs besides the logits comes before the loss now
            grad = self.pairs[node]
            x, target, dloss = grad.inputs
            if dloss.node.op is COPY and numel(dloss.node.inputs[0].shape) == 1:  # one number for every row
                dloss = dloss.node.inputs[0]
            self.node(dloss.node)
            ins = tuple(to[id(t)] for t in (x, target, dloss))
            both = self.graph.add(CROSS_ENTROPY_BOTH, ins, node.attrs)
            to[id(node.outputs[0])], to[id(grad.outputs[0])] = both.outputs
        elif node in self.losses:
            self.node(self.losses[node])
        elif (norm := normalize_under_relu(node.outputs[0])) is not None:
            again = normalize_again(*self._norm(norm), eps=norm.attrs["eps"])
            to[id(node.outputs[0])] = apply(RELU_MASK, to[id(node.inputs[0])], again)
        elif node.op.decompose is not None and node.op.lower is None and not node.op.elementwise:  # no kernel
            parts = node.op.decompose(*[to[id(t)] for t in node.inputs], **node.attrs)
            for old, fresh in zip(node.outputs, parts, strict=True):
                to[id(old)] = fresh
        else:
            inputs = [to[id(t)] for t in node.inputs]
            norm = normalize_under_relu(node.inputs[0]) if node.op is NORM_GRAD else None
            if norm is not None and norm.inputs[0] is node.inputs[1]:
                _, _, _, gamma, beta = self._norm(norm)
                inputs = [to[id(node.inputs[0].node.inputs[0])], *inputs[1:], gamma * inputs[3], beta]
            made = self.graph.add(node.op, tuple(inputs), node.attrs, node)
            for old, fresh in zip(node.outputs, made.outputs, strict=True):
                to[id(old)] = fresh


def rewrite(graph: Graph, outputs: Sequence[Tensor]) -> tuple[Graph, dict[int, Tensor]]:
    """A new graph of the live nodes only, with node-level rewriting done; and old tensor id -> new tensor."""
    nodes = live_nodes(graph, outputs)
    work = _Rewrite(graph, nodes)
    new, to = work.graph, work.to
    with tracing(new):
        for node in nodes:
            if id(node.outputs[0]) not in to:
                work.node(node)
    kept = [to[id(t)] for t in outputs]
    new.nodes = _contract(live_nodes(new, kept), kept)
    for i, n in enumerate(new.nodes):
        n.index = i
    return new, to


class _Groups:
    """Which elementwise nodes run as one program."""

    def __init__(self, graph: Graph, outputs: Sequence[Tensor]):
        self.kept = set(outputs)
        self.consumers: dict[Node, list[Node]] = {n: [] for n in graph.nodes}
        for n in graph.nodes:
            for t in n.inputs:
                self.consumers[t.node].append(n)
        self.members: dict[Node, list[Node]] = {}
        self.bias: dict[Node, tuple[Node, Tensor]] = {}  # matmul -> (its add node, bias tensor)
        self.bias_adds: dict[Node, Node] = {}  # the other way
        self.hosted: set[Node] = set()  # matmuls that have an epilogue
        for n in graph.nodes:
            if n.op.elementwise and not self._as_bias(n):
                self._place(n)

    def _as_bias(self, n: Node) -> bool:
        """matmul(x, w) + b with b a vector: b starts the accumulators."""
        if n.op is not ADD:
            return False
        for y, b in (n.inputs, n.inputs[::-1]):
            m = y.node
            if (
                m.op.hosts_epilogue
                and m not in self.bias
                and self.consumers[m] == [n]
                and y not in self.kept
                and b.shape == y.shape[1:]
                and b.node.op in (PARAM, STATE, CONST)
            ):
                self.bias[m], self.bias_adds[n] = (n, b), m
                return True
        return False

    def _place(self, n: Node) -> None:
        mine = [n]
        for t in n.inputs:
            group = self.members.get(t.node)
            if group is None or group is mine or t.shape != n.outputs[0].shape or len(group) + len(mine) > MAX_NODES:
                continue
            joined = sorted({*group, *mine}, key=lambda m: m.index)
            if self._legal(joined, n.index) and self._fits(joined):
                mine = joined
        for m in mine:
            self.members[m] = mine

    def _legal(self, group: list[Node], place: int) -> bool:
        inside = set(group)
        return all(c in inside or c.index > place for m in group for c in self.consumers[m])

    def _fits(self, group: list[Node]) -> bool:
        return len(operands(group)) <= MAX_IN and len(self.outputs_of(group)) <= MAX_OUT

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
    """The matmul output that this program can follow in the matmul's own record."""
    first, last = group[0].index, group[-1].index
    inside = set(group)
    domain = group[0].outputs[0].shape
    for t in program.inputs:
        m = t.node
        add = None
        if m in groups.bias_adds:
            add, m = m, groups.bias_adds[m]
        if not m.op.hosts_epilogue or t.shape != domain or m in groups.hosted:
            continue
        readers = groups.consumers[add or m]
        if all(c in inside or c.index > last for c in readers) and m.index < first:
            return t
    return None


def fuse(graph: Graph, outputs: Sequence[Tensor]) -> list[Step]:
    """Steps that compute ``outputs`` (of a graph that ``rewrite`` gave), in order."""
    groups = _Groups(graph, outputs)
    placed: dict[Node, list[Step]] = {}  # at this node's place
    skip: set[Node] = set()
    done: set[int] = set()
    for node in graph.nodes:
        if node not in groups.members or id(groups.members[node]) in done:
            continue
        group = groups.members[node]
        done.add(id(group))
        for part, program in _programs(groups, group):
            domain, scope = part[0].outputs[0].shape, part[-1].scope
            host = _epilogue_host(groups, program, part)
            if host is None:
                step = ewise_step(program, domain, scope)
            else:
                m = groups.bias_adds.get(host.node, host.node)
                groups.hosted.add(m)
                skip.add(m)
                skip.add(host.node)
                step = _with_epilogue(_matmul_step(groups, m), host, program, part, groups)
            placed.setdefault(part[-1], []).append(step)
    steps: list[Step] = []
    for node in graph.nodes:
        steps += placed.get(node, [])
        if node.op.is_leaf or node.op.elementwise or node.op.is_view or node in skip:
            if node in groups.bias_adds and node not in skip:
                steps.append(_matmul_step(groups, groups.bias_adds[node]))
            continue
        if node in groups.bias or (node.op is TRANSPOSE and _only_matmuls(groups, node)):
            continue
        assert node.op.lower is not None, node.op.name
        for step in node.op.lower(node):
            step.scope = node.scope
            steps.append(step)
    return steps


def _only_matmuls(groups: _Groups, node: Node) -> bool:
    y = node.outputs[0]
    return (
        y not in groups.kept
        and y.ndim == 2
        and all(c.op.hosts_epilogue for c in groups.consumers[node])
        and node.inputs[0].node.op is not SCALAR
    )


def _matmul_step(groups: _Groups, m: Node) -> Step:
    assert m.op.lower is not None
    step: Step = m.op.lower(m)[0]
    step.scope = m.scope
    if m in groups.bias:
        add, b = groups.bias[m]
        y = add.outputs[0]
        step.fields.update(y=y, bias=b)
        step.local = tuple(y if t is m.outputs[0] else t for t in step.local)
        step.writes, step.reads = (y,), (*step.reads, b)
    return step


def _with_epilogue(step: Step, y: Tensor, program: Program, group: list[Node], groups: _Groups) -> Step:
    domain = y.shape
    kept = y in groups.kept or not set(group).issuperset(groups.consumers[y.node])
    writes = list(program.outputs)
    if not kept:  # nobody else reads the product: it takes the memory of the program's last output
        i = program.inputs.index(y)
        for j, w in enumerate(writes):
            if program.last_read.get(i, -1) <= program.written[j]:
                step.fields["y"] = w
                program.inputs[i] = w
                break
        else:
            kept = True
    others = [t for t in program.inputs if t is not y and t not in writes]
    whole = set(step.reads).difference(step.local)  # the product reads all rows of these
    step.fields["epilogue"] = ewise_fields(program, domain, writes)
    step.writes = (*writes, y) if kept else tuple(writes)
    step.reads = (*step.reads, *others)
    if not step.fields["by_cols"]:
        row_local = [t for t in others if t.ndim == len(domain) and t.shape[:1] == domain[:1] and t not in whole]
        step.local = (*(t for t in step.local if t is not y), *step.writes, *row_local)
    step.code = tuple(program.names)
    return step
