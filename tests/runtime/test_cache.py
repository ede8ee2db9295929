"""A cache of plans holds so many bytes, and lets go what was not used for longest."""

import numpy as np

import hawfinch as hf
from hawfinch import _core
from hawfinch.runtime.cache import PlanCache


def test_what_was_not_used_for_longest_goes_first():
    cache = PlanCache(len, max_bytes=10)
    for key, value in (("a", "123"), ("b", "1234"), ("c", "123")):
        assert cache.put(key, value) == value
    assert cache.get("a") == "123"  # used: b is the oldest now
    cache.put("d", "1")
    assert cache.get("b") is None and [cache.get(k) for k in "acd"] == ["123", "123", "1"]
    assert cache.pop("c") == "123" and cache.pop("c") is None and len(cache) == 2
    cache.clear()
    assert len(cache) == 0


def test_the_latest_stays_however_large():
    cache = PlanCache(len, max_bytes=2)
    cache.put("a", "1")
    cache.put("b", "x" * 100)
    assert len(cache) == 1 and cache.get("b") == "x" * 100


def test_sizes_are_asked_for_anew():
    cache = PlanCache(len, max_bytes=10)
    grows = cache.put("a", [0])
    cache.put("b", [0])
    grows += [0] * 20
    cache.trim()
    assert cache.get("a") is None and cache.get("b") == [0]


def test_a_plan_knows_its_bytes():
    plan = hf.compile(lambda x: hf.ops.sum(hf.ops.exp(hf.ops.sum(x, 1)))).plan(np.ones((40, 50)))
    assert plan.nbytes == plan.arena.nbytes + _core.max_threads() * plan.schedule.scratch_bytes > 0
