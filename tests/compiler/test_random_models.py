"""Random models on the CPU, fused and planned, against NumPy, an op at a time: see tests/random_models.py."""

import pytest
from random_models import Difference, reproducer, run

CHUNK = 50


@pytest.mark.parametrize("first", range(0, 2000, CHUNK))
def test_both_backends_train_the_same_model(first):
    for number in range(first, first + CHUNK):
        try:
            run(0, number)
        except Exception as error:
            error.add_note(reproducer(0, number))
            raise


def test_a_wrong_instruction_is_noticed(monkeypatch):
    monkeypatch.setattr("hawfinch.compiler.rewrite.FNMA", __import__("hawfinch").ops.elementwise.FMS)
    with pytest.raises(Difference):
        for number in range(50):
            run(0, number)


def test_memory_that_is_used_again_too_early_is_noticed(monkeypatch):
    from hawfinch.compiler import memory

    one_place = staticmethod(lambda free, hole: [(0, 1 << 40)])  # whatever is freed, the next tensor starts at 0
    monkeypatch.setattr(memory, "_release", one_place)
    with pytest.raises(Difference):
        for number in range(50):
            run(0, number)


def test_a_barrier_that_is_missing_is_noticed(monkeypatch):
    monkeypatch.setattr("hawfinch.compiler.schedule.find_barriers", lambda steps, *_: [False] * len(steps))
    with pytest.raises(Difference, match="other bits with"):
        for number in range(0, 60, 3):
            run(0, number)
