"""Linear models under scikit-learn's names: nets of one layer, each fitted by the solver that suits its objective.

After ``fit`` a model's ``model_`` is a ``Sequential`` of one ``Linear`` in float64: to be saved, exported, trained on,
or made the head of a larger net. ``coef_`` and ``intercept_`` are views of its arrays. Options, attributes and
objectives are scikit-learn's, so that ``clone``, ``Pipeline`` and ``GridSearchCV`` take them; nothing here needs it.

Design: objectives are traced functions, one C call for a value and its gradient; the perceptron is ``Trainer`` with
batches of one row; what sees one coordinate after the other (LASSO, the dual of a support vector machine) is C, a sweep
a call; what has a closed form is NumPy's. Rejected: ``Trainer`` for all of them. Its steps are right for large nets;
here the objective is wanted to a part in ten thousand, on features of any scale.
"""

from ..values import names_of
from .least_squares import (
    ElasticNet as ElasticNet,
    Lasso as Lasso,
    LinearRegression as LinearRegression,
    Ridge as Ridge,
)
from .logistic import LogisticRegression as LogisticRegression
from .perceptron import Perceptron as Perceptron
from .svm import LinearSVC as LinearSVC, LinearSVR as LinearSVR

__all__ = [
    "ElasticNet",
    "Lasso",
    "LinearRegression",
    "LinearSVC",
    "LinearSVR",
    "LogisticRegression",
    "Perceptron",
    "Ridge",
]


def __dir__() -> list[str]:
    return names_of(globals())
