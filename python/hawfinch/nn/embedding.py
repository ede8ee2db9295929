"""Embedding: a learnt vector for each category or token."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..initializers import Draw, Function, InitLike, get_initializer
from ..ir import Array, Tensor
from ..values import check_flag, check_real, check_whole
from .module import Module


class Embedding(Module):
    """Row ids of the table ``weight`` (num, dim): integers (rows, ...) to (rows, ..., dim).

    An input of a model is of integers because a layer such as this uses it as such, whatever the array's dtype; an id
    outside of [0, num) is a LabelError when the batch runs, and nothing is updated. num, dim: sizes of the table, as
    PyTorch's num_embeddings and embedding_dim. padding_idx: an id (negative ones count from the end) that stands for
    nothing: its output is 0, its row starts at 0 and is not trained. max_norm: rows that are longer are used shortened
    to this length. The gradient goes through that, and the table keeps the long row (PyTorch shortens it there).
    sparse: default False; True: the update (moments, decay, penalties, clipping) sees the rows that the batch has
    touched, and a step costs what these cost, not the table; the moments of the others stand still, as with PyTorch's
    SparseAdam. It is the default of ``Trainer(groups={"0.weight": dict(sparse=...)})``, with the same conditions.
    init: default "normal", N(0, 1), as PyTorch's. Raises ArgumentError.

    >>> import numpy as np, hawfinch as hf
    >>> layer = hf.Embedding(10, 4, padding_idx=0).build((3,))
    >>> y = layer.predict(np.array([[1, 0, 1]]))
    >>> y.shape, bool((y[0, 0] == y[0, 2]).all()), y[0, 1].tolist()
    ((1, 3, 4), True, [0.0, 0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        num: int,
        dim: int,
        *,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        sparse: bool = False,
        init: InitLike = "normal",
    ):
        self.num, self.dim = check_whole(num, "Embedding: num", 1), check_whole(dim, "Embedding: dim", 1)
        is_whole = isinstance(padding_idx, int | np.integer) and not isinstance(padding_idx, bool)
        if padding_idx is not None and not (is_whole and -self.num <= padding_idx < self.num):
            raise ArgumentError(f"Embedding: padding_idx must be an id below num = {self.num}, not {padding_idx!r}")
        self.padding_idx = None if padding_idx is None else int(padding_idx) % self.num
        self.max_norm = max_norm
        if max_norm is not None:
            self.max_norm = check_real(max_norm, "Embedding: max_norm", "above 0", lambda v: 0 < v < float("inf"))
        self.sparse = check_flag(sparse, "Embedding: sparse")
        self.init = init
        if init is not None:
            get_initializer(init)

    def forward(self, ids: Tensor) -> Tensor:
        init = self.init if self.padding_idx is None else _Padded(get_initializer(self.init or "normal"), self)
        table = self.param("weight", (self.num, self.dim), init, (self.num, self.dim))
        self._hf.own["weight"].sparse = self.sparse
        y = ops.gather(table, ids)
        if self.max_norm is not None:
            squares, most = ops.sum(ops.square(y), -1, keepdims=True), self.max_norm**2
            y = ops.where(squares > most, y * (self.max_norm / ops.sqrt(ops.maximum(squares, most))), y)
        if self.padding_idx is not None:
            used = ops.not_equal(ops.to_real(ids), float(self.padding_idx))
            y = ops.where(ops.reshape(used, (*ids.shape, 1)), y, 0.0)
        return y


class _Padded:
    """An initializer whose row for padding is 0."""

    def __init__(self, init: Function, layer: Embedding):
        self.init, self.row = init, layer.padding_idx

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        values = np.array(self.init(shape, fan_in, fan_out, draw)).reshape(shape)
        values[self.row] = 0
        return values
