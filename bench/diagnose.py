"""The doctor on broken trainings: ``python bench/diagnose.py [--data digits,moons] [--half tune|held] [--out file]``.

Each operator of broken_runs.py breaks the healthy training of each data set. A broken training counts where its test
error over five seeds is significantly worse than the healthy one's (Welch, p < 0.01, and by a fifth of it at least).
Then ``hf.diagnose`` sees it, with its validation set alone; the test set says what its cure is worth. Healthy trainings
are diagnosed too: a verdict other than "healthy" is a false alarm.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import broken_runs as broken
import numpy as np
from scipy.stats import ttest_ind

import hawfinch as hf

SEEDS = 5


def error_of(model: Any, spec: broken.Spec, classes: bool) -> float:
    """Test error: share of wrong classes, or squared error over the variance."""
    said, y = np.asarray(model.predict(spec.sets.xt), float), spec.sets.yt
    if classes:
        truth = y.reshape(-1).astype(int)
        label = said.argmax(1) if said.shape[1] > 1 else np.rint(said[:, 0])
        return float(np.mean(label != truth))
    return float(min(np.nan_to_num(np.mean(np.square(said - y)) / y.var(), nan=10.0), 10.0))


def trained(spec: broken.Spec, seed: int) -> Any:
    trainer = hf.Trainer(spec.model(), spec.loss, spec.optimizer, seed=seed, **spec.trainer)
    try:
        trainer.fit(spec.sets.x, spec.sets.y, epochs=spec.epochs, batch_size=spec.batch, **spec.fit)
    except hf.NonFiniteError:
        pass
    return trainer.model


def errors(spec: broken.Spec) -> np.ndarray:
    return np.array([error_of(trained(spec, 10 + s), spec, spec.classes) for s in range(SEEDS)])


def diagnosed(spec: broken.Spec, budget: str) -> tuple[Any, float]:
    begin = time.perf_counter()
    s = spec.sets
    report = hf.diagnose(
        spec.model(),
        s.x,
        s.y,
        validation_data=(s.xv, s.yv),
        loss=spec.loss,
        optimizer=spec.optimizer,
        epochs=spec.epochs,
        batch_size=spec.batch,
        budget=budget,
        **spec.trainer,
        **spec.fit,
    )
    return report, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=",".join(broken.DATA))
    parser.add_argument("--ops", default="")
    parser.add_argument("--half", default="all", choices=("all", "tune", "held"))
    parser.add_argument("--budget", default="30s")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.data.split(","):
        make, half = broken.DATA[name]
        if options.half not in ("all", half):
            continue
        healthy = make()
        base = errors(healthy)
        for way, change in broken.HEALTHY.items():
            if options.ops and way not in options.ops.split(","):
                continue
            rows.append(judge(name, way, change(healthy), base, None, options))
        for op, operator in broken.OPERATORS.items():
            if options.half not in ("all", operator.half) or (options.ops and op not in options.ops.split(",")):
                continue
            spec = operator.change(healthy)
            if spec is not None:
                rows.append(judge(name, op, spec, base, operator, options))
    summary(rows)
    if options.out:
        options.out.write_text(json.dumps({"cpu": hf.show_config(), "budget": options.budget, "rows": rows}, indent=1))


def judge(
    data: str, name: str, spec: broken.Spec, base: np.ndarray, operator: broken.Operator | None, options: Any
) -> dict[str, Any]:
    row: dict[str, Any] = {"data": data, "name": name, "half": operator.half if operator else "healthy"}
    if operator is not None:
        now = errors(spec)
        worse = ttest_ind(now, base, equal_var=False, alternative="greater").pvalue if now.std() + base.std() > 0 else 0
        row |= {"base": base.mean(), "broken": now.mean()}
        if not (worse < 0.01 and now.mean() > 1.2 * base.mean()):
            row["killed"] = False
            print(f"{data:9} {name:24} not worse: {base.mean():.3f} -> {now.mean():.3f}", flush=True)
            return row
        row["killed"] = True
    report, seconds = diagnosed(spec, options.budget)
    row |= {"verdict": report.verdict, "seconds": seconds, "causes": [c.name for c in report.causes]}
    if operator is not None:
        row["right"] = report.verdict in operator.right
        cured = np.nan
        if report.causes:
            try:
                cured = error_of(report.cure().model, spec, spec.classes)
            except hf.HawfinchError as error:
                row["no_cure"] = str(error)
        lost = row["broken"] - row["base"]
        row |= {"cured": cured, "back": (row["broken"] - cured) / lost}
    mark = " " if operator is None else "+" if row["right"] else "-" if report.causes else "0"
    tail = (
        ""
        if operator is None
        else f"{row['base']:.3f} -> {row['broken']:.3f} -> {row['cured']:.3f} ({row['back']:.2f})"
    )
    print(f"{data:9} {name:24} {mark} {report.verdict:24} {seconds:5.1f} s {tail} {row['causes'][1:4]}", flush=True)
    if options.show:
        print(report)
    return row


def summary(rows: list[dict[str, Any]]) -> None:
    for half in ("tune", "held"):
        found = [r for r in rows if r.get("killed") and r["half"] == half and broken.DATA[r["data"]][1] == half]
        report(f"{half}: data and operators", found)
    report(
        "data sets that no threshold was chosen on",
        [r for r in rows if r.get("killed") and broken.DATA[r["data"]][1] == "new"],
    )
    report("all broken", [r for r in rows if r.get("killed")])
    fine = [r for r in rows if r["half"] == "healthy"]
    if fine:
        alarms = [r for r in fine if r["verdict"] != "healthy"]
        print(f"false alarms: {len(alarms)} of {len(fine)}")


def report(title: str, found: list[dict[str, Any]]) -> None:
    if not found:
        return
    n = len(found)
    seen = sum(r["verdict"] != "healthy" for r in found)
    right = sum(r["right"] for r in found)
    back = sum(r["back"] >= 0.9 for r in found)
    slowest = max(r["seconds"] for r in found)
    print(
        f"{title}: {n} runs; fault seen {100 * seen / n:.0f} %, cause right {100 * right / n:.0f} %, "
        f"cure brings back 90 % in {100 * back / n:.0f} %, slowest {slowest:.0f} s"
    )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
