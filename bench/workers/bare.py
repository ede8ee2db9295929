"""Our own kernels in a plain C loop: the bare arithmetic that a step inside fit is held against."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from jobs import Job, data
from machine import HERE
from workers.base import Case

import hawfinch as hf

CHECKS = {"grad_norm", "grad_check", "grad_bound"}  # records that only look whether numbers are finite
PLAN_AT = object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)  # hf_plan's place in a _core.Plan: behind its vtable


class Bare(Case):
    """Epochs over the plan that fit made. Its update keeps the step number of Adam's first epochs; cost is the same."""

    def __init__(self, job: Job, trainer: hf.Trainer):
        x, y = data(job)
        trainer.fit(x, y, epochs=1, batch_size=job.batch, threads=1)
        self.arrays = x, y, np.random.default_rng(0).permutation(len(x))
        self.batch, self.steps, self.plan = job.batch, job.batches, trainer.plan(x, y, batch_size=job.batch)
        for i, array in enumerate((x, y)):
            self.plan.core.set_source(i, array)
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "bare.so"
            source = HERE.parent / "csrc"
            command = [os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC"]
            folders = [f"-I{source}/include", f"-I{source}/runtime"]
            subprocess.run([*command, *folders, HERE / "workers/bare.c", "-o", library], check=True)
            self.loop = ctypes.CDLL(str(library)).bare_steps
        self.scalars = trainer.scalars(1)
        skip = [step.op in CHECKS for step in self.plan.steps]
        self.skip = (ctypes.c_uint8 * len(skip))(*skip)
        self.struct = id(self.plan.core) + PLAN_AT
        if ctypes.c_int64.from_address(self.struct).value != len(skip):
            raise RuntimeError("_core.Plan does not begin with its hf_plan any more: see PLAN_AT")

    def run(self, units: int) -> None:
        index = ctypes.c_void_p(self.arrays[2].ctypes.data)
        for _ in range(units):
            self.loop(
                ctypes.c_void_p(self.struct),
                self.skip,
                ctypes.c_int64(self.steps),
                ctypes.c_int64(self.batch),
                index,
                ctypes.c_void_p(self.scalars.ctypes.data),
            )
