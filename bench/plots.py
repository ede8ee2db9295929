"""The pictures of docs/performance.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from jobs import MEDIUM
from report import FAMILIES, IN_PLAN, OURS, Result, times_text

MARKERS = "os^Dv<>Ph*X"
CURVES = {
    "batch": ("batch (784-256-10)", "a step inside fit"),
    "width": ("width (n-n-n-10, batch 32)", "a step inside fit"),
    "depth": ("hidden layers of 64 (batch 32)", "a step inside fit"),
    "matmul": ("n (matmul n×n×n through hf.kernels)", "a call"),
    "nets": ("nets", "a step of all nets"),
}


def family(peer: str) -> int:
    import re

    return next((i for i, pattern in enumerate(FAMILIES.values()) if re.match(pattern, peer)), len(FAMILIES))


def ratios(found: Sequence[Result], caption: str, path: Path) -> None:
    """Time of the fastest peer relative to ours, log scale. Left of the line it beats us."""
    shown = [(r, r.best(), r.ratio()) for r in found]
    rows = [(r, best, ratio) for r, best, ratio in shown if best and ratio]
    fig, ax = plt.subplots(figsize=(10, 1.2 + 0.21 * len(rows)), layout="constrained")
    for i, (_, (peer, _), ratio) in enumerate(rows):
        ax.barh(i, math.log10(ratio), 0.75, color=f"C{family(peer)}")
        ax.text(max(math.log10(ratio), 0), i, f" {times_text(ratio)} {peer}", fontsize=7, va="center")
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(rows)), [r.title for r, _, _ in rows], fontsize=7)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    low, high = ax.get_xlim()
    ax.set_xlim(low, high + 0.25 * (high - low))
    ticks = [t for t in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= math.log10(t) <= high]
    ax.set_xticks([math.log10(t) for t in ticks], [f"{t:g}×" for t in ticks])
    ax.set_xlabel("time of the fastest peer relative to hawfinch (a bar left of 1× beats hawfinch)")
    ax.set_title(caption, fontsize=9)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def roofline(found: Sequence[Result], limits: dict[str, float], caption: str, path: Path) -> None:
    """FLOP/s against FLOP per byte, both as bench/jobs.py counts them; hollow: on one thread."""
    fig, ax = plt.subplots(figsize=(10, 6.5), layout="constrained")
    x = [0.1, 1e4]
    slope = limits.get("read 2", 0)
    for what, threads, style in (("fma", 1, "--"), ("fma", 2, "-"), ("bf16", 2, ":")):
        peak = limits.get(f"{what} {threads}", 0)
        if peak and slope:
            ax.plot(x, [peak / 1e9] * 2, f"k{style}", linewidth=1)
            label = f"{'bfloat16' if what == 'bf16' else 'float32 FMA'}, {threads} thread{'s' if threads > 1 else ''}"
            ax.text(x[1], peak / 1e9, f"{label}: {peak / 1e9:.0f} ", fontsize=8, ha="right", va="bottom")
    for what, color in (("read", "C0"), ("triad", "C1"), ("update", "C2")):
        bandwidth = limits.get(f"{what} 2", 0)
        ends = [x[0], limits.get("fma 2", 0) / bandwidth] if bandwidth else []
        ax.plot(
            ends,
            [e * bandwidth / 1e9 for e in ends],
            color=color,
            linewidth=1,
            label=f"memory, {what}: {bandwidth / 1e9:.0f} GB/s",
        )
    groups = list(dict.fromkeys(r.first.group for r in found if r.first.flops and r.first.bytes and r.median(OURS)))
    for i, group in enumerate(groups):
        members = [r for r in found if r.first.group == group and r.first.flops and r.first.bytes]
        members.sort(key=lambda r: r.first.flops / r.first.bytes)
        for k, result in enumerate(members):
            row, time = result.first, result.median(IN_PLAN) or result.median(OURS)
            if not time:
                continue
            face = "none" if row.threads == 1 else f"C{i + 3}"
            at = row.flops / row.bytes, row.flops / time / 1e9
            ax.plot(
                *at,
                MARKERS[i % len(MARKERS)],
                color=f"C{i + 3}",
                markerfacecolor=face,
                markersize=6,
                label=group if k == 0 else None,
            )
            text = row.name.removeprefix("matmul-").removeprefix("bf16-")
            if group == MEDIUM and "x" in text:
                continue  # one cloud: names would cover each other
            left = k % 2  # neighbours may share their place
            ax.annotate(
                text,
                at,
                xytext=(-6 if left else 6, -2),
                textcoords="offset points",
                fontsize=6,
                ha="right" if left else "left",
            )
    ax.set(xscale="log", yscale="log", xlim=x, xlabel="FLOP per byte that must move", ylabel="GFLOP/s")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=7, loc="lower right")
    ax.set_title(f"hawfinch's kernels under the machine's roofs (above the slopes: in cache)\n{caption}", fontsize=9)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def growth(curves: dict[str, list[dict[str, Any]]], caption: str, path: Path) -> None:
    fig, axes = plt.subplots(2, 2 if len(curves) <= 4 else 3, figsize=(10, 7), layout="constrained")
    for ax in axes.flat[len(curves) :]:
        ax.axis("off")
    for ax, (curve, points) in zip(axes.flat, curves.items(), strict=False):
        sizes = [p["size"] for p in points]
        label, what = CURVES.get(curve, (curve, "time"))
        ax.plot(sizes, [1e6 * p["auto"] for p in points], "o-", label="threads left to auto")
        if all(p["one"] for p in points):
            ax.plot(sizes, [1e6 * p["one"] for p in points], "x--", label="one thread")
        ax.set(xscale="log", yscale="log", xlabel=label, ylabel=f"us for {what}")
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    fig.suptitle(f"Growth of cost\n{caption}", fontsize=9)
    fig.savefig(path, dpi=110)
    plt.close(fig)
