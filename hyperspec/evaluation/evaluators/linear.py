"""A linear classifier on frozen features, its regularisation chosen inside the training part."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.embeddings import Embeddings, Floats
from hyperspec.evaluation.evaluators.registry import (
    Labels,
    ProbeResult,
    Scores,
    check_features,
    judge,
    register_evaluator,
    specimen_folds,
)
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

log = logging.getLogger(__name__)

# Half decades would change little: the score is flat around its best C.
C_GRID = tuple(float(10.0**power) for power in range(-3, 4))
_MAX_ITERATIONS = 3000
# Largest gradient left: choosing C stands a rougher optimum than naming rows near a border.
_SEARCH_TOLERANCE, _FINAL_TOLERANCE = 1e-4, 1e-6


@register_evaluator("linear", needs_labels=True, on_controls=True, at_end_only=True)
def run(embeddings: Embeddings) -> Scores:
    """Score the linear probe fitted on the training part; nothing without its labels."""
    rows, known = embeddings.rows, embeddings.known
    if known is None:
        return Scores({})

    def fit() -> LinearProbe:
        groups, seed = known.specimens, embeddings.seed
        return fit_linear_probe(known.features, known.labels, groups=groups, seed=seed)

    probe = embeddings.fitted("linear", fit)
    result = probe.score(rows.features, rows.labels)
    top1 = embeddings.averaged(result.correct, rows.specimens)
    return Scores(
        {"linear_top1": top1, "linear_balanced": result.balanced, "linear_C": probe.C},
        result.predictions,
    )


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A fitted linear probe, which names rows of any part; made by :func:`fit_linear_probe`.

    Args:
        names: The labels in order, ``(K,)``.
        C: Chosen inverse regularisation strength.
        converged: False when the optimiser stopped at its iteration limit.
        model: The fitted regression on standardised features.
        scaling: The standardisation that precedes it.
    """

    names: NDArray[np.str_]
    C: float
    converged: bool
    model: LogisticRegression
    scaling: _Scaling

    def predict(self, features: ArrayLike) -> NDArray[np.str_]:
        """Return a label for each row of features ``(N, F)``."""
        scaled = self.scaling(np.asarray(features, np.float64))
        return np.asarray(self.names[self.model.predict(scaled)])

    def log_chances(self, features: ArrayLike) -> Floats:
        """Return the log probability of each label, ``(N, K)``, of features ``(N, F)``."""
        return _log_chances(self.model, self.scaling(np.asarray(features, np.float64)))

    def score(self, features: ArrayLike, truth: Labels) -> ProbeResult:
        """Name the rows of features ``(N, F)`` and compare with their true labels ``(N,)``."""
        predictions = self.predict(check_features(features, truth))
        return judge(predictions, truth, self.C, self.converged)


def fit_linear_probe(
    train_x: ArrayLike, train_y: Labels, *, groups: Sequence[str], seed: int = 0
) -> LinearProbe:
    """Fit multinomial logistic regression (L2, L-BFGS) on standardised features.

    C is the one of :data:`C_GRID` with the lowest log loss in a cross-validation inside the
    training rows, grouped by specimen and stratified by label; the smaller C on a tie. From the
    smallest on, the search ends where the loss has risen twice in a row. Features are standardised
    on the rows that a model is fitted on. With a single specimen of some label no cross-validation
    is possible and C is 1.

    Args:
        train_x: Training features, ``(M, F)``.
        train_y: Training labels, ``(M,)``.
        groups: Specimen of each training row, ``(M,)``.
        seed: Seed of the folds.

    Raises:
        ConfigError: If the training rows have one label only.
        ValueError: If features are not finite.
    """
    train = check_features(train_x, train_y)
    names, codes = np.unique(np.asarray(train_y), return_inverse=True)
    if len(names) < 2:
        raise ConfigError(
            f"data.labels gives the training part one label only ({str(names[0])!r}); a linear "
            "probe needs two. Choose another label column, or train without labels."
        )
    chosen = _choose_c(train, codes, groups, seed)
    scaling = _Scaling.fit(train)
    model = _fit(scaling(train), codes, chosen)
    converged = bool(model.n_iter_.max() < _MAX_ITERATIONS)
    if not converged:
        log.warning(
            "The linear probe stopped at %d iterations (C = %g) before it converged; its score "
            "may be a little low.",
            _MAX_ITERATIONS,
            chosen,
        )
    return LinearProbe(names, chosen, converged, model, scaling)


def _choose_c(features: Floats, codes: NDArray[np.intp], groups: Sequence[str], seed: int) -> float:
    split = specimen_folds(codes, groups, seed)
    if not split:
        log.warning("A label has a single training specimen: the linear probe takes C = 1.")
        return 1.0
    folds = [_Fold.of(features, codes, inside, outside) for inside, outside in split]
    losses: list[float] = []
    for strength in C_GRID:
        losses.append(sum(fold.loss(strength) for fold in folds))
        # Past its best C a probe learns noise by heart, ever more slowly: the loss has one valley.
        if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
            break
    return C_GRID[int(np.argmin(np.round(losses, 9)))]


@dataclass(eq=False)
class _Fold:
    """A fold of the search for C: the same problem and steps as scikit-learn's, without its checks.

    These take three times as long as the steps themselves where the rows are few.

    Args:
        fitted: Standardised features of the rows to fit on and a column of ones, ``(M, F + 1)``.
        codes: Label of each as a number below K, ``(M,)``.
        scored: The same of the rows to score, ``(N, F + 1)``. Those whose label the others lack are
            left out: they count as wrong for every C.
        truth: Label of each, ``(N,)``.
        weights: Solution for the C before, ``((F + 1) * columns,)``; one column serves two labels.
    """

    fitted: Floats
    codes: NDArray[np.intp]
    scored: Floats
    truth: NDArray[np.intp]
    weights: Floats

    @classmethod
    def of(
        cls,
        features: Floats,
        codes: NDArray[np.intp],
        inside: NDArray[np.intp],
        outside: NDArray[np.intp],
    ) -> _Fold:
        scaling = _Scaling.fit(features[inside])
        names, own = np.unique(codes[inside], return_inverse=True)
        known = outside[np.isin(codes[outside], names)]
        fitted, scored = (
            np.column_stack([scaling(features[rows]), np.ones(len(rows))])
            for rows in (inside, known)
        )
        columns = len(names) if len(names) > 2 else 1
        start = np.zeros(fitted.shape[1] * columns)
        return cls(fitted, own, scored, np.searchsorted(names, codes[known]), start)

    def loss(self, strength: float) -> float:
        """Fit for a C from where the one before ended; return the summed log loss of the scored."""
        from scipy.optimize import minimize

        penalty = np.full((self.fitted.shape[1], 1), 1 / (strength * len(self.codes)))
        penalty[-1] = 0  # of the intercept

        def objective(weights: Floats) -> tuple[float, Floats]:
            given = weights.reshape(len(penalty), -1)
            loss, slopes = _log_loss(self.fitted, self.codes, given)
            gradient = self.fitted.T @ slopes / len(slopes) + penalty * given
            return loss / len(slopes) + float(np.vdot(penalty * given, given)) / 2, gradient.ravel()

        limits = {"maxiter": _MAX_ITERATIONS, "maxls": 50, "gtol": _SEARCH_TOLERANCE}
        options = {**limits, "ftol": 64 * np.finfo(float).eps}
        done = minimize(objective, self.weights, method="L-BFGS-B", jac=True, options=options)
        self.weights = done.x
        return _log_loss(self.scored, self.truth, done.x.reshape(len(penalty), -1))[0]


def _log_loss(features: Floats, codes: NDArray[np.intp], weights: Floats) -> tuple[float, Floats]:
    """Return the summed log loss of rows ``(M, F)``, and its slope by each score, ``(M, columns)``.

    ``weights`` are ``(F, columns)``; a single column is the score of the second of two labels.
    """
    scores = features @ weights
    if weights.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    scores -= scores.max(1, keepdims=True)
    chances = np.exp(scores)
    sums = chances.sum(1, keepdims=True)
    places = np.arange(len(codes)), codes
    loss = np.log(sums).sum() - scores[places].sum()
    chances /= sums
    chances[places] -= 1
    return float(loss), chances[:, -weights.shape[1] :]


def _log_chances(model: LogisticRegression, features: Floats) -> Floats:
    """Return log probabilities that stay finite where the probability rounds to zero."""
    from scipy.special import log_softmax

    scores = np.asarray(model.decision_function(features), np.float64)
    if scores.ndim == 1:  # two labels: one score, for the second
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    return np.asarray(log_softmax(scores, axis=1))


def _fit(features: Floats, codes: NDArray[np.intp], strength: float) -> LogisticRegression:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS, tol=_FINAL_TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the caller reports it by name
        return model.fit(features, codes)


@dataclass(frozen=True, eq=False)
class _Scaling:
    """Standardisation by the training rows and, where F > M, a turn into their span.

    An L2 penalty does not see a rotation, and the optimum lies in the span of the training rows
    (representer theorem), so the shorter problem has the same predictions.
    """

    mean: Floats
    scale: Floats
    basis: Floats | None

    @classmethod
    def fit(cls, train: Floats) -> _Scaling:
        mean, scale = train.mean(0), train.std(0)
        # A constant column carries nothing; below this its spread is rounding.
        scale = np.where(scale > 1e-9 * np.maximum(np.abs(mean), 1e-12), scale, np.inf)
        if train.shape[1] <= train.shape[0]:
            return cls(mean, scale, None)
        _, singular, right = np.linalg.svd((train - mean) / scale, full_matrices=False)
        kept = singular > 1e-10 * max(singular[0], 1e-10)
        kept[0] = True  # all columns constant: one column of zeros is left
        return cls(mean, scale, right[kept].T)

    def __call__(self, features: Floats) -> Floats:
        scaled = (features - self.mean) / self.scale
        return np.asarray(scaled if self.basis is None else scaled @ self.basis)
