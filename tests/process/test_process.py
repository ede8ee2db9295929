"""hawfinch in a process: import, fork, Ctrl-C, memory over many models, allocations during a run.

Each test runs a program of its own: what is tested is the whole process, and neither a hang nor a crash must take
pytest along.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROLOGUE = """
import ctypes, gc, os, resource, signal, sys, time
import numpy as np
import hawfinch as hf

def net(*widths):
    layers = []
    for width in widths[:-1]:
        layers += [hf.Linear(width), hf.BatchNorm(), hf.ReLU(), hf.Dropout(0.2)]
    return hf.Sequential(*layers, hf.Linear(widths[-1]))

rng = np.random.default_rng(0)
x = rng.normal(size=(512, 32)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
"""


def run(code: str, timeout: float = 60, **environment: str) -> str:
    """The program's output; fails where it fails, and after `timeout` seconds, which only a hang needs."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROLOGUE + code],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# ---- import ----


def test_import_starts_no_threads_and_writes_no_environment() -> None:
    code = """
import os, sys, warnings
import numpy
before, threads, modules = dict(os.environ), len(os.listdir("/proc/self/task")), set(sys.modules)
import ctypes
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
names = (b"OMP_NUM_THREADS", b"OMP_WAIT_POLICY", b"GOMP_SPINCOUNT", b"KMP_DUPLICATE_LIB_OK", b"OMP_PROC_BIND")
c_before = [getenv(n) for n in names]
import hawfinch
assert dict(os.environ) == before
assert [getenv(n) for n in names] == c_before
assert len(os.listdir("/proc/self/task")) == threads
assert not [m for m in sys.modules if m.split(".")[0] in ("matplotlib", "tqdm", "multiprocessing", "sklearn", "torch")]
slow = {"argparse", "dataclasses", "difflib", "hashlib", "json", "secrets", "numpy.ma", "numpy.typing"}
assert not slow & (set(sys.modules) - modules)
hawfinch.Trainer(hawfinch.Sequential(hawfinch.Linear(2)), "mse").step(numpy.ones((4, 3)), numpy.ones((4, 2)))
assert not slow & (set(sys.modules) - modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60, check=True)


def test_compiling_leaves_nothing_to_the_cyclic_collector() -> None:
    run("""
gc.disable()
gc.collect()
trainer = hf.Trainer(net(8, 6, 2), "softmax_cross_entropy")
trainer.step(x, y)
hf.value_and_grad(lambda w: hf.ops.mean(hf.ops.softmax(x @ w) ** 2))(np.ones((32, 2)))
assert gc.collect() == 0
""")


def test_small_models_start_no_threads() -> None:
    run("""
threads = len(os.listdir("/proc/self/task"))
trainer = hf.Trainer(net(8, 2), "softmax_cross_entropy")
trainer.fit(x[:64], y[:64], epochs=3)
trainer.step(x[:8], y[:8])
trainer.model.predict(x[:8])
assert len(os.listdir("/proc/self/task")) == threads
""")


def test_subnormals_survive_import_and_training() -> None:
    """Some libraries switch the processor to flush them to zero, for the whole process."""
    run("""
tiny64, tiny32 = 5e-324, np.float32(1e-45)
def alive():
    assert tiny64 * 1.0 != 0 and np.float64(tiny64) / 1.0 != 0
    assert tiny32 * np.float32(1) != 0
    assert (np.full(1000, tiny32) * np.float32(1) != 0).all()
    assert np.finfo(np.float32).smallest_normal / np.float32(2) != 0
alive()
hf.Trainer(net(64, 2), "softmax_cross_entropy").fit(x, y, threads=2)
alive()
assert hf.ops.mul(np.full(100, tiny32), np.float32(1)).all()
""")


# ---- fork ----

FORK = """
def work(seed):
    trainer = hf.Trainer(net(96, 2), "softmax_cross_entropy", seed=seed, threads=2)
    trainer.fit(x, y, epochs=2)
    return trainer.model.predict(x, threads=2).tobytes()

expected = [work(seed) for seed in range(4)]
parent = hf.Trainer(net(96, 2), "softmax_cross_entropy", seed=0, threads=2)
parent.fit(x, y, epochs=2)
assert len(os.listdir("/proc/self/task")) > 1  # a team is at hand
"""


def test_a_forked_child_trains_and_predicts() -> None:
    """After a run on two threads in the parent, whose threads do not survive a fork. Also a child of the child."""
    run(
        FORK
        + """
def child(levels):
    ok = parent.model.predict(x, threads=2).tobytes() == expected[0]  # the parent's model and plan
    ok = ok and all(work(seed) == expected[seed] for seed in range(2))
    if levels:
        pid = os.fork()
        if pid == 0:
            child(levels - 1)
        ok = ok and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    parent.fit(x, y, threads=2)
    os._exit(0 if ok else 1)

pid = os.fork()
if pid == 0:
    try:
        child(1)
    finally:
        os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert work(3) == expected[3]  # the parent goes on
"""
    )


def test_a_pool_of_forked_workers() -> None:
    run(
        FORK
        + """
import multiprocessing
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert pool.map(work, range(4)) == expected
    assert pool.map(work, range(4)) == expected
"""
    )


AT_ONCE = """
import threading

def work(threads):
    trainer = hf.Trainer(net(96, 2), "softmax_cross_entropy", seed=0, threads=threads)
    trainer.fit(x, y, epochs=2)
    return trainer.model.predict(x, threads=threads).tobytes()

expected = work(1)
stop, seen = threading.Event(), []
def loop(threads):
    while not stop.is_set():
        seen.append(work(threads) == expected)
started = [threading.Thread(target=loop, args=(n,), daemon=True) for n in (1, 2, 3, 5, 64, 300)]
for thread in started:
    thread.start()
while len(seen) < len(started):
    time.sleep(0.01)
"""


def test_python_threads_run_plans_at_once_and_fork() -> None:
    """Teams larger than the machine and one thread alone, at once; children forked in the middle of their rounds."""
    run(
        AT_ONCE
        + """
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if work(2) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
stop.set()
for thread in started:
    thread.join()
assert all(seen)
"""
    )


def test_a_process_ends_while_threads_run_plans() -> None:
    assert run(AT_ONCE + "assert all(seen); print('over')") == "over\n"


def test_one_cpu_or_one_openmp_thread_is_one_thread_unless_asked() -> None:
    code = """
assert "threads: 1 at most" in hf.show_config(), hf.show_config()
def work(threads):
    trainer = hf.Trainer(net(96, 2), "softmax_cross_entropy", seed=0, threads=threads)
    trainer.fit(x, y, epochs=2)
    return trainer.model.predict(x, threads=threads).tobytes()
alone = work(None)
assert len(os.listdir("/proc/self/task")) == before
assert work(3) == alone
assert len(os.listdir("/proc/self/task")) == before + 2
"""
    count = 'before = len(os.listdir("/proc/self/task"))\n'
    run(count + code, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    run("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + count + code, OPENBLAS_NUM_THREADS="1")


def test_spawned_workers_get_models_by_pickle(tmp_path: Path) -> None:
    """A trained model goes to another process and predicts the same bits there."""
    script = tmp_path / "spawned.py"
    script.write_text(
        PROLOGUE
        + """
def predict(model):
    return model.predict(x).tobytes()

if __name__ == "__main__":
    import multiprocessing
    trainer = hf.Trainer(net(16, 2), "softmax_cross_entropy")
    trainer.fit(x, y)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(predict, [trainer.model]) == [predict(trainer.model)]
"""
    )
    subprocess.run([sys.executable, "-W", "error", script], timeout=60, check=True)


# ---- signals ----

INTERRUPTED = """
print("ready", flush=True)
try:
    fit()
    raise SystemExit("was not interrupted")
except KeyboardInterrupt:
    print("stopped", flush=True)
assert all(np.isfinite(p).all() for p in {**model.parameters(), **model.buffers()}.values())
assert np.isfinite(model.predict(xs[:3])).all()
steps = trainer.steps
print(steps, flush=True)
if again:
    trainer.fit(xs[:64], ys[:64], batch_size=64)
    assert trainer.steps == steps + 1
"""
TINY = """
model, xs, ys, again = net(8, 2), x, y, True
trainer = hf.Trainer(model, "softmax_cross_entropy", threads=THREADS)
trainer.fit(xs, ys)
fit = lambda: trainer.fit(xs, ys, epochs=10**9)
"""
LONG = """
model, again = net(64, 2), True
xs = np.broadcast_to(x[:1], (40_000_000, 32))
ys = np.broadcast_to(y[:1], (40_000_000,))
trainer = hf.Trainer(model, "softmax_cross_entropy", threads=THREADS)
trainer.fit(xs[:1000], ys[:1000])
fit = lambda: trainer.fit(xs, ys, shuffle=False)
"""
HUGE = """
model, again = net(3000, 3000, 2), False
xs = np.broadcast_to(x[:1], (2048 * 1000, 32))
ys = np.broadcast_to(y[:1], (2048 * 1000,))
trainer = hf.Trainer(model, "softmax_cross_entropy", "sgd", threads=THREADS)
model.build((32,))
fit = lambda: trainer.fit(xs, ys, batch_size=2048, shuffle=False)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("program", ["TINY", "LONG", "HUGE"])
def test_ctrl_c(program: str, threads: int) -> None:
    """KeyboardInterrupt comes out of a long fit; the model stays whole. Tiny steps, one long epoch, steps of seconds.

    The bound finds hangs, and fits that wait for the end of an epoch; it is wide enough for a busy machine.
    """
    code = PROLOGUE + globals()[program].replace("THREADS", str(threads)) + INTERRUPTED
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert process.stdout.readline() == "stopped\n"
        assert time.monotonic() - start < (5 if program == "HUGE" else 2)
        assert int(process.stdout.readline()) > 0 or program == "HUGE"
        err = process.communicate(timeout=60)[1]
        assert process.returncode == 0, err
    finally:
        process.kill()
        process.communicate()


def test_steps_are_counted_when_a_signal_handler_raises() -> None:
    """Not only KeyboardInterrupt: a timer's own error leaves by the same door, with steps as done."""
    run("""
class TooLong(Exception):
    pass

def handler(*_):
    raise TooLong

signal.signal(signal.SIGALRM, handler)
xs, ys = np.repeat(x, 4000, 0), np.repeat(y, 4000)
trainer = hf.Trainer(net(8, 2), "softmax_cross_entropy", threads=1)
trainer.model.build((32,))
signal.setitimer(signal.ITIMER_REAL, 0.4)
try:
    trainer.fit(xs, ys, shuffle=False, epochs=1000)
    raise SystemExit("was not stopped")
except TooLong:
    pass
assert trainer.steps > 0
twin = hf.Trainer(net(8, 2), "softmax_cross_entropy", threads=1)
n = 32 * (trainer.steps % (len(xs) // 32))
twin.fit(xs, ys, shuffle=False, epochs=trainer.steps * 32 // len(xs))
if n:
    twin.fit(xs[:n], ys[:n], shuffle=False)
assert twin.steps == trainer.steps
for name, p in trainer.model.parameters().items():
    assert p.tobytes() == twin.model.parameters()[name].tobytes()
""")


def test_ctrl_c_in_predict_and_evaluate() -> None:
    run("""
model = net(64, 2)
trainer = hf.Trainer(model, "softmax_cross_entropy")
xs = np.broadcast_to(x[:1], (100_000_000, 32))
out = np.empty((100_000_000, 2), np.float32)
expected = model.predict(x)
for call in (lambda: model.predict(xs, out=out), lambda: trainer.evaluate(xs, np.broadcast_to(y[:1], 100_000_000))):
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        call()
        raise SystemExit("was not interrupted")
    except KeyboardInterrupt:
        pass
    assert model.predict(x).tobytes() == expected.tobytes()
    assert np.isfinite(trainer.evaluate(x, y)["loss"])
""")


# ---- memory ----


def test_memory_over_two_thousand_models() -> None:
    """Built, trained, used and dropped: the process stays as large as it was after the first hundred."""
    out = run("""
def resident():
    gc.collect()
    status = open("/proc/self/status").read()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024  # pages of libraries come and go with the page cache

def one(i):
    trainer = hf.Trainer(net(8, 2), "softmax_cross_entropy", metrics=["accuracy"], seed=i)
    trainer.fit(x[:40], y[:40], batch_size=16, epochs=1)
    trainer.step(x[:8], y[:8])
    trainer.model.predict(x[:8])

for i in range(200):
    one(i)
before = resident()
for i in range(1800):
    one(i)
print(resident() - before)
""")
    assert int(out) < 4 << 20  # 1,800 models of at least 20 kB each would be 36 MB


def test_models_are_freed_without_the_garbage_collector_being_asked() -> None:
    """What a dropped trainer leaves to the collector is small: no arena waits for it."""
    out = run("""
def one():
    trainer = hf.Trainer(net(400, 400, 2), "softmax_cross_entropy")
    trainer.fit(x, y, batch_size=256, epochs=1)
    trainer.model.predict(x)

one()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(30):
    one()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
""")
    assert int(out) < 100 << 10  # KiB; all thirty would be over 300 MB


COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdatomic.h>
#include <sys/types.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static atomic_long calls;
static atomic_int counting;
void count_start(void) { calls = 0; counting = 1; }
long count_stop(void) { counting = 0; return calls; }
#define COUNT if (counting) calls++
void *malloc(size_t n) { COUNT; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { COUNT; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { COUNT; return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { COUNT; return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { COUNT; return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) { COUNT; *p = __libc_memalign(a, n); return *p ? 0 : 12; }
void *mmap(void *a, size_t n, int prot, int flags, int fd, off_t at) {
  static void *(*next)(void *, size_t, int, int, int, off_t);
  COUNT;
  if (!next) next = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
  return next(a, n, prot, flags, fd, at);
}
"""


def test_nothing_is_allocated_while_a_plan_runs(tmp_path: Path) -> None:
    """malloc and its kin, and mmap, are counted around a run of one step and around one of 1,000: equally many.

    Those few belong to the call: arguments, the result. The counter itself is tested by an allocation.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert compiler, "a C compiler is needed, as for building hawfinch"
    source, library = tmp_path / "counter.c", tmp_path / "counter.so"
    source.write_text(COUNTER)
    subprocess.run([compiler, "-O1", "-fPIC", "-shared", "-o", library, source, "-ldl"], check=True)
    run(
        """
counter = ctypes.CDLL(None)

def calls(f):
    gc.disable()
    counter.count_start()
    f()
    n = counter.count_stop()
    gc.enable()
    return n

assert calls(lambda: bytearray(10**6)) >= 1
for threads in (1, 2):
    for optimizer in (hf.Adam(clip_norm=1.0), hf.SGD(momentum=0.9)):
        model = hf.Sequential(hf.Linear(40), hf.BatchNorm(), hf.GELU(), hf.Dropout(0.1), hf.Linear(24), hf.LayerNorm(),
                              hf.Linear(2))
        trainer = hf.Trainer(model, "softmax_cross_entropy", optimizer, metrics=["accuracy"], threads=threads)
        trainer.fit(x, y, batch_size=50)  # ten full batches and a short one
        plan = next(iter(trainer._plans.cache.values()))
        scalars = trainer.scalars(1)
        index = np.arange(50_000) % 512
        def go(n):
            plan.core.run(plan.buffers, n, 50, 50 * n - 1, index, scalars, 0, 0, threads)
        plan.set_data((x, y))
        go(1000)
        one = min(calls(lambda: go(1)) for _ in range(5))
        many = min(calls(lambda: go(1000)) for _ in range(3))
        assert many <= one + 1, (threads, one, many)
""",
        LD_PRELOAD=str(library),
    )
