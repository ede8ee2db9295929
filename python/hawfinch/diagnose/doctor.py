"""The doctor: ``hf.diagnose``.

Design: (1) the run is repeated as given, over seeds; (2) nets of good habits on the same rows say what can be reached;
(3) rules say what looks wrong, and which changes would mend it; (4) the changes are tried on the user's own net, the
likeliest first, as long as the budget lasts; (5) the verdict is the cause whose cure brings back most. All that is
judged is the error on validation rows, row by row. Rejected: the traces of one run, from which other tools guess.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError, HawfinchError, HawfinchWarning
from ..losses import ClassWeight
from ..nn.module import Module
from ..train.trainer import Trainer
from ..values import check_real, check_whole
from . import edits
from .case import Case, Cure, Suspicion
from .given import run_of, task_for
from .references import Beside, OutOfFold, out_of_fold, references
from .report import Finding, Report
from .rules import RULES
from .rules.data import distinct_rows
from .rules.evidence import data_suspicions, learning_curve, nothing_to_learn, seed_spread
from .run import Run, train
from .verdict import COMES_OF, ENOUGH, LAST, Tried, confirm, helps, polish, recovered, score, try_cures

LEAST_SECONDS = 1.0
SHARE = 0.1  # of the budget that one repetition may take
UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "m": 60.0, "min": 60.0, "h": 3600.0}


def diagnose(
    model: Module,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    loss: Any = None,
    optimizer: Any = "adam",
    budget: str | float = "30s",
    epochs: int | None = None,
    batch_size: int | str = 32,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    callbacks: Iterable[Any] = (),
    seed: int = 0,
    **settings: Any,
) -> Report:
    """Says why a training fails, or that it does not, with the experiments that prove it and a cure that was tried.

    model: as the training begins, not changed: one that has values is trained from these. x, y, sample_weight,
    class_weight, batch_size, callbacks and loss, optimizer, seed: as for ``Trainer`` and ``fit``; settings: all else
    that these take. epochs: of the training; default: as many as make 1500 steps, 10 to 200. validation_data: (x, y);
    default: a fifth of the rows is held out, which the report notes. budget: the time that it may take on this
    machine, "30s", "2min" or seconds; at least 1 s. Large data are cut to rows that allow the experiments.

    Gives a ``Report``: ``print(report)``, ``report.verdict``, ``report.causes``, ``report.plot()``, ``report.cure()``.
    Raises ArgumentError for a missing loss, an unknown option or a budget that is none, and as ``fit`` for bad data.

    >>> import numpy as np, hawfinch as hf
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(400, 4))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> model = hf.Sequential(hf.Linear(16), "relu", hf.Linear(2))
    >>> slow = hf.Adam(lr=1e-6)
    >>> report = hf.diagnose(model, x, y, loss="softmax_cross_entropy", optimizer=slow, epochs=30, budget="10s")
    >>> report.verdict
    'learning_rate_too_low'
    """
    begin, seconds, seed = time.perf_counter(), _seconds(budget), check_whole(seed, "seed")
    settings |= dict(sample_weight=sample_weight, class_weight=class_weight)
    training = dict(loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, callbacks=callbacks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", HawfinchWarning)
        run, notes = run_of(
            "diagnose", model, x, y, validation_data=validation_data, seed=seed, settings=settings, **training
        )
        return _Doctor(run, max(seconds - (time.perf_counter() - begin), 0.1), seed, notes).report()


def of_trainer(trainer: Trainer, x: Any, y: Any, budget: Any, settings: dict[str, Any]) -> Report:
    """``Trainer.diagnose``."""
    given: dict[str, Any] = {}
    if "model" in settings:
        raise ArgumentError("diagnose: the model is the trainer's; hf.diagnose(model, x, y, ...) takes another")
    if x is None and y is not None:
        raise ArgumentError("diagnose: there is y, but no x")
    if x is None:
        if trainer._fitted is None:
            raise ArgumentError("diagnose: there was no fit yet; give it the data, trainer.diagnose(x, y)")
        given |= trainer._fitted
        x, y = given.pop("x"), given.pop("y")
        if trainer._training._is_owned():  # type: ignore[attr-defined]
            # called by a callback, which its own experiments must not call again
            given["callbacks"] = [c for c in given["callbacks"] if type(c).__module__.startswith("hawfinch.")]
    options = {k: v for k, v in trainer._update_options.items() if v is not None and k != "watch" and k != "reduce"}
    given |= dict(loss=trainer.loss, optimizer=trainer.optimizer, seed=trainer.seed, precision=trainer.precision)
    given |= options
    model = trainer.model
    if trainer.steps > 0:  # its values are what training has made of them
        still = [k for k in model.parameters() if k not in model.trainable()]
        specs, seed = model.inputs, model._hf.seed
        model = edits.untrained(model)
        if still and specs is not None:
            model.build(*specs, seed=seed).freeze(*still)
    return diagnose(model, x, y, budget=budget, **{**given, **settings})


def _seconds(budget: Any) -> float:
    found = budget
    if isinstance(budget, str):
        match = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", budget)
        if match is None or match[2] not in UNITS or match[1].count(".") > 1 or match[1] == ".":
            raise ArgumentError(f"budget: expected a time such as '30s', '2min' or seconds, got {budget!r}")
        found = float(match[1]) * UNITS[match[2]]
    return check_real(found, "budget", f"of at least {LEAST_SECONDS:g} s", lambda v: LEAST_SECONDS <= v < np.inf)


class _Doctor:
    """One diagnosis."""

    def __init__(self, run: Run, seconds: float, seed: int, notes: list[str]):
        self.case = Case(run, task_for(run, seed), seconds, seed)
        self.case.notes += notes
        self.beside: Beside | None = None
        self.oof: OutOfFold | None = None

    def report(self) -> Report:
        """The way from the first repetition to the verdict."""
        case = self.case
        self._fit_into_budget()
        case.replays = train([case.run] * 2, case.task, seed=[case.seed, case.seed + 1], deadline=self._until(0.3))
        self._look_at_epochs()
        self._reach()
        suspicions = [s for rule in RULES for s in rule(case)]
        suspicions += [
            *data_suspicions(case, self.oof),
            *learning_curve(case),
            *seed_spread(case),
            *nothing_to_learn(case),
        ]
        suspicions.sort(key=lambda s: -s.strength)
        tried = try_cures(case, suspicions, keep=0.2 * case.seconds)
        if not tried:
            case.notes.append("no change could be tried within the budget: ask for a larger one, budget='2min'")
        tried += self._references_as_cures()
        tried = confirm(case, tried, case.seed + 1)
        return self._conclude(suspicions, tried)

    def _until(self, share: float) -> float:
        return self.case.begin + share * self.case.seconds

    def _fit_into_budget(self) -> None:
        """Cuts the rows where one repetition would take too long."""
        case, run = self.case, self.case.run
        few = run._replace(data=run.data.take(slice(0, 2048)), validation=run.validation.take(slice(0, 512)))
        for n in (256, 2048):  # the larger one where that is quick, too
            part = few._replace(data=few.data.take(slice(0, n)))
            once, twice = [self._seconds_of(part.with_fit(epochs=e, callbacks=[])) for e in (1, 2)]
            epoch = max(twice - once, 1e-4, twice / 4 if n < 2048 else 0.0)  # of few rows, not to be relied on
            if epoch * few.data.n / part.data.n > 0.05 * case.seconds:
                break
        whole = epoch * run.epochs * run.data.n / part.data.n
        most = SHARE * case.seconds
        least = int(np.clip(1.5 * most * part.data.n / epoch, 500, 2000))  # of which one epoch is not too long
        if whole > most and run.data.n > least:
            n = int(np.clip(run.data.n * most / whole, least, run.data.n))
            rows = np.sort(np.random.default_rng(case.seed).permutation(run.data.n)[:n])
            case.run = run._replace(data=run.data.take(rows))
            case.notes.append(f"{n} of {run.data.n} training rows were taken, for the budget")

    def _seconds_of(self, run: Run) -> float:
        begin = time.perf_counter()
        train([run], self.case.task, seed=self.case.seed)
        return time.perf_counter() - begin

    def _look_at_epochs(self) -> None:
        case = self.case
        done = min(len(t.history) for t in case.replays)
        if done < case.run.epochs and not any(t.diverged for t in case.replays):
            stopping = any(getattr(c, "patience", None) for c in case.run.fit["callbacks"])
            if not stopping:
                case.notes.append(f"the budget allowed {max(done, 1)} of {case.run.epochs} epochs in an experiment")
                case.run = case.run.with_fit(epochs=max(done, 1))

    def _reach(self) -> None:
        """What nets of good habits reach, and what they say of the training rows."""
        case = self.case
        self.beside = references(case)
        if self.beside is None:
            case.notes.append("no table of inputs and targets: nets of good habits could not be put beside")
            return
        runs = [self.beside.plain, self.beside.dropped, self.beside.linear]
        try:
            case.references = train(runs, case.task, seed=case.seed, deadline=self._until(0.5))
        except HawfinchError as error:
            self.beside = None
            case.notes.append(f"nets of good habits can't be trained on these rows: {error}"[:200])
            return
        distinct = distinct_rows(case)
        if case.left > 0.4 * case.seconds and (distinct is None or distinct > 0.5 * case.run.data.n):
            oof, trials = out_of_fold(case, self.beside.dropped)
            if all([t.diverged or len(t.history) >= t.run.epochs for t in trials]):
                self.oof = oof
            else:  # nets that the budget has cut short know less than those that they would be put beside
                case.notes.append("the budget was too small to look for wrong labels")

    def _references_as_cures(self) -> list[Tried]:
        """The best reference, as the last resort: another net altogether."""
        case = self.case
        if self.beside is None or not case.references:
            return []
        best = int(np.argmin([t.error for t in case.references]))
        trial, run = case.references[best], self.beside[best]
        simpler = case.references[2].train_error < case.train_error
        learnt = trial.train_error < case.train_error
        name = "optimisation" if simpler else "model_bias" if learnt else "overfitting"
        reached = [case.task.text(e) for e in (trial.error, trial.train_error)]
        text = f"a net of good habits reaches {reached[0]} ({reached[1]} in training)"
        cure = Cure("another net: " + repr(run.model), "", lambda _: run)
        return [Tried(Suspicion(name, LAST, (text,), (cure,)), cure, run, [trial])]

    def _conclude(self, suspicions: list[Suspicion], tried: list[Tried]) -> Report:
        case = self.case
        helping = [t for t in tried if helps(case, t)]
        best = min([t.error for t in helping], default=case.error)
        measured = {"error": case.error, "train_error": case.train_error, "best_error": best}
        measured |= {"reference_error": min((t.error for t in case.references), default=float("nan"))}
        self._tell(best, helping)
        found: dict[str, Finding] = {}
        ranked = sorted(helping, key=lambda t: -score(case, t, best))
        for t in ranked:
            share = recovered(case, t, best)
            if t.suspicion.name not in found and share >= ENOUGH:
                found[t.suspicion.name] = _finding(case, t, share, score(case, t, best))
        for s in suspicions:
            if s.certain and s.name not in found:
                found[s.name] = _unproven(s)
        if not found and case.replays[0].diverged:
            found["exploding_gradient"] = _unproven(Suspicion("exploding_gradient", 0.5, ("the loss was not finite",)))
        causes = in_order(list(found.values()))
        if causes and not causes[0].result:
            case.ask(
                "What was measured without a training?",
                causes[0].evidence.split("; ")[0][:90],
                confidence=causes[0].confidence,
            )
        cured = self._cured(causes, helping, tried, best)
        also: list[str] = []
        if cured is not None:
            cured, also = polish(case, cured, [t for t in ranked if t.cure is not cured.cure])
            cured = None if cured.trials is case.replays else cured
        text = case.task.text
        said = [
            f"as given: {text(case.error)} on validation rows, {text(case.train_error)} in training",
            f"the best that was tried: {text(min(best, cured.error if cured else best))}",
        ]
        said += [f"cure() has more than the first cause's cure: {', '.join(also)}"] if also else []
        measured["cured_error"] = cured.error if cured else float("nan")
        return Report(causes, case.path, measured, case.notes, None if cured is None else (cured.run, case.seed), said)

    def _cured(self, causes: list[Finding], helping: list[Tried], tried: list[Tried], best: float) -> Tried | None:
        """The verdict's best cure; the best of all where that does not suffice."""
        if not causes:
            return None
        better = [t for t in tried if t.error < self.case.error]
        same = [t for t in better if t.suspicion.name == causes[0].name]
        first = min(same or better, key=lambda t: t.error, default=None)
        if first is None:  # the run as it is, for what helps in general
            first = Tried(
                Suspicion(causes[0].name, LAST), Cure("", "", lambda run: run), self.case.run, self.case.replays
            )
        if helping and recovered(self.case, first, best) < 0.9:
            first = min(helping, key=lambda t: t.error)
        return first

    def _tell(self, best: float, helping: list[Tried]) -> None:
        """Writes down the questions."""
        case, text = self.case, self.case.task.text
        case.ask(
            "Does the training run to its end?",
            "no: the loss was not finite" if any(t.diverged for t in case.replays) else "yes",
            loss=case.replays[0].loss,
        )
        case.ask("Can the same rows be learnt better?", "yes" if helping else "no", error=case.error, best=best)
        if not helping:
            return
        if case.references:
            reach = min(t.train_error for t in case.references)
            high = case.train_error > max(1.5 * reach, reach + 0.02)
            case.ask(
                "Is the training error too high?",
                "yes: bias or optimisation" if high else "no: overfitting or mismatch",
                training=case.train_error,
                reachable=reach,
            )
        top = max(helping, key=lambda t: score(case, t, best))
        case.ask(
            f"Which change brings it back? {top.cure.text}"[:90],
            f"{text(case.error)} → {text(top.error)}",
            recovered=recovered(case, top, best),
        )


def in_order(found: list[Finding]) -> list[Finding]:
    """The likeliest first; what comes of another one that explains as much, behind that."""
    by_name = {f.name: f for f in found}

    def rank(f: Finding) -> float:
        above = [by_name[n] for n in COMES_OF.get(f.name, ()) if n in by_name]
        explained = [u for u in above if u.confidence > 0.5 and u.recovered >= min(0.8, 0.8 * f.recovered)]
        return f.confidence if not explained else min(f.confidence, 0.99 * min(u.confidence for u in explained))

    return sorted(found, key=lambda f: -rank(f))


def _finding(case: Case, t: Tried, share: float, confidence: float) -> Finding:
    seconds = float(np.mean([trial.seconds for trial in t.trials]))
    result = (
        f"with this change the validation error went from {case.task.text(case.error)} to {case.task.text(t.error)} "
        f"in {seconds:.2g} s, {100 * share:.0f} % of what was lost"
    )
    evidence, numbers = "; ".join(t.suspicion.evidence), {**t.suspicion.numbers, "error": case.error, "cured": t.error}
    return Finding(t.suspicion.name, evidence, numbers, t.cure.text, t.cure.code, result, share, confidence)


def _unproven(s: Suspicion) -> Finding:
    cure = s.cures[0] if s.cures else None
    text = cure.text if cure is not None else "see the docs"
    return Finding(
        s.name, "; ".join(s.evidence), dict(s.numbers), text, "" if cure is None else cure.code, "", 0.0, s.strength
    )
