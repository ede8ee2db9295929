"""What the linear models share: options under scikit-learn's names, checks of data, labels, the net of one layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..data.arrays import as_array, as_data, check_finite
from ..errors import (
    ArgumentError,
    DTypeError,
    HawfinchWarning,
    LabelError,
    NotBuiltError,
    ShapeError,
    unknown_name,
    warn,
)
from ..nn import Linear, Sequential
from ..values import CheckedCall, check_real, check_whole, short

Array = NDArray[Any]


class OneOf(tuple[Any, ...]):
    """The rule of an option that takes one of these values."""


class OrNone(str):
    """The rule of an option that may be None too."""


LABELS = "biufUSOT"  # kinds of dtypes
RULES: dict[str, tuple[str, Any]] = {
    "above 0": ("above 0", lambda v: 0 < v < np.inf),
    "from 0": (">= 0", lambda v: 0 <= v < np.inf),
    "a usual number above 0": ("from 1e-100 to 1e100", lambda v: 1e-100 <= v <= 1e100),  # its square is one too
    "share": ("from 0 to 1", lambda v: 0 <= v <= 1),
}


def _is_bool(value: object) -> bool:
    return isinstance(value, bool | np.bool_)


class Estimator(metaclass=CheckedCall):
    """Options as attributes, under the names of the constructor's arguments, kept as they were given (so that
    scikit-learn's ``clone`` works), and checked when they are set.

    ``options``: the rule of each: int (a whole number from 1), bool, OneOf, OrNone, "seed", "class_weight" or of RULES.
    """

    options: ClassVar[dict[str, Any]]
    n_features_in_: int
    feature_names_in_: Array  # of the table that it was fitted on, if it was one and all are texts
    _columns: Array | None
    model_: Sequential

    def _set(self, given: dict[str, Any]) -> None:
        """given: the constructor's locals()."""
        self.set_params(**{k: given[k] for k in self.options})

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options by name, as they were given. deep: without effect, for scikit-learn."""
        return {name: getattr(self, name) for name in self.options}

    def set_params(self, **params: Any) -> Self:
        """Sets options; returns self. Raises ArgumentError for an unknown name or a value that is out of range; then
        nothing is set."""
        for name, value in params.items():
            if name not in self.options:
                raise unknown_name(f"option of {type(self).__name__}", name, self.options)
            self._check_option(name, value)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _check_option(self, name: str, value: Any) -> None:
        rule, what = self.options[name], f"{type(self).__name__}: {name}"
        if rule is bool:
            if not _is_bool(value):
                raise ArgumentError(f"{what} must be True or False, not {short(value)}")
        elif rule is int:
            check_whole(value, what, 1)
        elif value is None and isinstance(rule, OrNone):
            pass
        elif rule == "seed":
            check_whole(value, what)
        elif rule == "class_weight":
            if not (value is None or isinstance(value, Mapping) or (isinstance(value, str) and value == "balanced")):
                raise ArgumentError(f"{what} must be None, 'balanced' or a dict of label: weight, not {short(value)}")
        elif isinstance(rule, OneOf):
            if not any(value is v or (isinstance(value, str) and value == v) for v in rule):
                names = [v for v in rule if v is not None]
                if isinstance(value, str):
                    raise unknown_name(what, value, names)
                raise ArgumentError(f"{what} must be one of {', '.join(map(repr, rule))}, not {short(value)}")
        else:
            check_real(value, what, *RULES[rule])

    def __repr__(self) -> str:
        import inspect

        defaults = {k: p.default for k, p in inspect.signature(type(self)).parameters.items()}
        given = self.get_params().items()
        changed = [f"{k}={short(v)}" for k, v in given if not (v is defaults[k] or short(v) == short(defaults[k]))]
        return f"{type(self).__name__}({', '.join(changed)})"

    # ---- the rows ----
    def _rows(self, X: Any) -> Array:
        """What ``fit`` was given, as float64 (rows, features). A table's names of columns are kept."""
        x = checked_x(X)
        self._columns = columns_of(X)
        return x

    # ---- the net ----
    def _keep(self, weight: Array, intercept: Array | None) -> None:
        """weight (d, outputs), intercept (outputs,) or None, as the net of one layer. Both must be finite."""
        if not (np.isfinite(weight).all() and (intercept is None or np.isfinite(intercept).all())):
            raise ArgumentError(
                f"{type(self).__name__}: the coefficients overflow; scale x (hf.data.StandardScaler) and y first"
            )
        d, outputs = weight.shape
        model = Sequential(Linear(outputs, bias=intercept is not None)).astype("float64").build((d,))
        arrays = model.parameters()
        arrays["0.weight"][...] = weight
        if intercept is not None:
            arrays["0.bias"][...] = intercept
        self.model_, self.n_features_in_ = model, d  # type: ignore[assignment]
        vars(self).pop("feature_names_in_", None)
        if (columns := vars(self).pop("_columns", None)) is not None:
            self.feature_names_in_ = columns

    def _arrays(self) -> tuple[Array, Array]:
        """(weight (d, outputs), intercept (outputs,)) as the net has them now."""
        if "model_" not in vars(self):
            raise NotBuiltError(f"this {type(self).__name__} has not been fitted: call fit(X, y) first")
        arrays = self.model_.parameters()
        weight = arrays["0.weight"]
        return weight, arrays.get("0.bias", np.zeros(weight.shape[1]))

    def _outputs(self, X: Any) -> Array:
        """The net's outputs (rows, outputs)."""
        self._arrays()
        x = checked_x(X)
        if x.shape[1] != self.n_features_in_:
            raise ShapeError(f"X has {x.shape[1]} features, {type(self).__name__} was fitted on {self.n_features_in_}")
        known, given = vars(self).get("feature_names_in_"), columns_of(X)
        if known is not None and given is not None and (wrong := np.flatnonzero(known != given)).size:
            i = int(wrong[0])
            raise ArgumentError(
                f"X: column {i} is {given[i]!r}, {type(self).__name__} was fitted with {known[i]!r} there; "
                "give the columns in the order of fit: X[model.feature_names_in_]"
            )
        y = self.model_.predict(x)
        assert isinstance(y, np.ndarray)
        return y

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        kind = type(self)._estimator_type
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(),
        )

    _estimator_type: ClassVar[str]


class Regressor(Estimator):
    """Predicts numbers: y (rows,), or (rows, targets) where the model says so."""

    _estimator_type = "regressor"
    _one_target: bool

    @property
    def coef_(self) -> Array:
        """(features,), or (targets, features): a view of the net's weights."""
        weight = self._arrays()[0].T
        return weight[0] if self._one_target else weight

    @property
    def intercept_(self) -> Any:
        """A number, or (targets,)."""
        bias = self._arrays()[1]
        return float(bias[0]) if self._one_target else bias

    def predict(self, X: Any) -> Array:
        """(rows,), or (rows, targets), float64. Raises ShapeError, DTypeError, NonFiniteInputError, NotBuiltError."""
        y = self._outputs(X)
        return y[:, 0] if self._one_target else y

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 = 1 - (sum of squared errors) / (sum of squares about the mean), averaged over targets."""
        predicted = self._outputs(X)
        truth = checked_targets(y, len(predicted))
        if truth.shape != predicted.shape:
            raise ShapeError(f"y: expected {predicted.shape[1]} target(s), got shape {truth.shape}")
        s = checked_weights(sample_weight, len(truth))[:, None]
        total = (s * (truth - (s * truth).sum(0) / s.sum()) ** 2).sum(0)
        wrong = (s * (truth - predicted) ** 2).sum(0)
        constant = np.where(wrong == 0, 1.0, 0.0)  # as scikit-learn has it for a target that does not vary
        return float(np.mean(np.where(total == 0, constant, 1 - wrong / np.where(total == 0, 1.0, total))))


class Classifier(Estimator):
    """Predicts labels: y (rows,) of any two or more values, numbers or texts. One output for two classes, else one for
    each class."""

    _estimator_type = "classifier"
    classes_: Array
    class_weight: Any = None

    def _labels(self, y: Any, rows: int) -> Array:
        """The number of each row's class (rows,); sets ``classes_``."""
        labels = as_array(y, "y")
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.shape != (rows,):
            raise ShapeError(f"y: expected one label per row ({rows},), got shape {labels.shape}")
        if labels.dtype.kind == "f":
            check_finite(labels, "y")
        elif labels.dtype.kind not in LABELS:
            raise DTypeError(f"y: labels are numbers or texts, got dtype {labels.dtype}")
        try:
            classes, numbers = np.unique(labels, return_inverse=True)
        except TypeError as error:
            raise DTypeError(f"y holds labels that can't be put in order: {error}") from None
        if len(classes) < 2:
            raise LabelError(f"y has only one class, {classes[:1].tolist()[0]!r}: there is nothing to tell apart")
        if labels.dtype.kind == "f" and len(classes) > 2 and (classes != np.floor(classes)).any():
            raise LabelError("y holds numbers that are not whole, and more than two: regression? (LinearRegression)")
        self.classes_ = classes
        return np.asarray(numbers, np.int64)

    def _row_weights(self, numbers: Array, sample_weight: Any) -> Array:
        """sample_weight times the weight of the row's class."""
        weights = checked_weights(sample_weight, len(numbers))
        given = self.class_weight
        if given is None:
            return weights
        if isinstance(given, str):
            table = len(numbers) / (len(self.classes_) * np.bincount(numbers))
        else:
            known = self.classes_.tolist()
            unknown = [k for k in given if k not in known]
            if unknown:
                raise LabelError(f"class_weight names {unknown[0]!r}, but the classes of y are {short(known)}")
            table = np.array([check_real(given.get(k, 1.0), "class_weight", *RULES["from 0"]) for k in known])
        weights = weights * table[numbers]
        if not weights.any():
            raise ArgumentError("class_weight and sample_weight leave no row with a weight above 0")
        return weights

    @property
    def coef_(self) -> Array:
        """(1, features) for two classes, else (classes, features): a view of the net's weights."""
        return self._arrays()[0].T

    @property
    def intercept_(self) -> Array:
        """(1,) for two classes, else (classes,)."""
        return self._arrays()[1]

    def decision_function(self, X: Any) -> Array:
        """(rows,) for two classes, above 0 for the second; else (rows, classes)."""
        scores = self._outputs(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Array:
        """The labels (rows,). Raises ShapeError, DTypeError, NonFiniteInputError, NotBuiltError."""
        scores = self._outputs(X)
        chosen = (scores[:, 0] > 0).astype(np.int64) if scores.shape[1] == 1 else scores.argmax(1)
        return np.asarray(self.classes_[chosen])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose label is right."""
        predicted = self.predict(X)
        truth = as_array(y, "y")
        if truth.dtype.kind not in LABELS:
            raise DTypeError(f"y: labels are numbers or texts, got dtype {truth.dtype}")
        if truth.shape != predicted.shape:
            raise ShapeError(f"y: expected one label per row {predicted.shape}, got shape {truth.shape}")
        return float(np.average(predicted == truth, weights=checked_weights(sample_weight, len(truth))))


def checked_x(X: Any) -> Array:
    """X as float64 (rows, features), C-contiguous."""
    x = as_data(X, "X")
    if x.ndim != 2:
        raise ShapeError(f"X: expected (rows, features), got shape {x.shape}; one feature: X[:, None]")
    if not x.size:
        raise ShapeError(f"X: expected at least one row and one feature, got shape {x.shape}")
    check_finite(x, "X")
    return np.ascontiguousarray(x, np.float64)


def columns_of(X: Any) -> Array | None:
    """A table's names of its columns, if all of them are texts."""
    names = getattr(X, "columns", None)
    names = None if names is None else list(names)
    return np.array(names, object) if names and all([isinstance(name, str) for name in names]) else None


def checked_targets(y: Any, rows: int) -> Array:
    """y as float64 (rows, targets)."""
    a = as_data(y, "y")
    if len(a) != rows or a.ndim > 2 or not a.size:
        raise ShapeError(f"y: expected ({rows},) or ({rows}, targets), as X has {rows} rows; got shape {a.shape}")
    check_finite(a, "y")
    return np.ascontiguousarray(a.reshape(rows, -1), np.float64)


def checked_weights(sample_weight: Any, rows: int) -> Array:
    """float64 (rows,), none below 0 and one above; None: ones."""
    if sample_weight is None:
        return np.ones(rows)
    weights = as_data(sample_weight, "sample_weight").astype(np.float64)
    if weights.shape != (rows,):
        raise ShapeError(f"sample_weight: expected one number per row ({rows},), got shape {weights.shape}")
    check_finite(weights, "sample_weight")
    if (weights < 0).any() or not weights.any():
        raise ArgumentError("sample_weight must not be negative, and not 0 for all rows")
    return weights


def not_converged(name: str, iterations: int) -> None:
    """The warning of a solver that has used up its iterations."""
    warn(
        f"{name} has not converged in {iterations} iterations: raise max_iter, or scale X (hf.data.StandardScaler)",
        HawfinchWarning,
    )
