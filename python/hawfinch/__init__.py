"""hawfinch: a neural-net engine. The public names, nothing else."""

from . import ops as ops
from .compile import compile as compile, value_and_grad as value_and_grad
