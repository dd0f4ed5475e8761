"""Classifiers of chemometrics on mean spectra: PLS-DA and shrinkage LDA."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperspec.evaluation.embeddings import Embeddings, Floats, Held
from hyperspec.evaluation.evaluators.registry import check_features, judge, specimen_folds
from hyperspec.evaluation.metrics import control_metric, main_accuracy
from hyperspec.evaluation.scores import EvaluationResult, prediction_table

log = logging.getLogger(__name__)

MOST_COMPONENTS = 20
Predict = Callable[[Floats], NDArray[np.str_]]


@dataclass(frozen=True, eq=False)
class PlsDa:
    """Partial least squares regression on labels as zeros and ones; the largest answer wins.

    Args:
        names: The labels in order, ``(K,)``.
        num_components: Latent variables.
        mean: Of the training spectra, ``(F,)``.
        scale: Their standard deviation, ``(F,)``; infinite where it is none.
        coefficients: ``(F, K)``.
        shares: Share of each label in the training rows, ``(K,)``.
    """

    names: NDArray[np.str_]
    num_components: int
    mean: Floats
    scale: Floats
    coefficients: Floats
    shares: Floats

    def predict(self, features: Floats) -> NDArray[np.str_]:
        """Return a label for each row of features ``(N, F)``."""
        answers = (features - self.mean) / self.scale @ self.coefficients + self.shares
        return np.asarray(self.names[answers.argmax(1)])


def fit_pls_da(
    features: Floats, labels: Sequence[str], groups: Sequence[str], *, seed: int = 0
) -> PlsDa:
    """Fit PLS-DA with the number of components that names most rows of held-out specimens rightly.

    That number is chosen by cross-validation within these rows, grouped by specimen and stratified
    by label; of equals the smallest. Where a label has a single specimen nothing can be held out:
    there are as many components as labels then, less one.

    Args:
        features: Training spectra, ``(M, F)``.
        labels: Label of each, ``(M,)``, two different ones at least.
        groups: Specimen of each, ``(M,)``.
        seed: Seed of the folds.

    Source: Barker, Rayens 2003, "Partial least squares for discrimination".
    """
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    folds = specimen_folds(codes, groups, seed)
    smallest = min([len(inside) for inside, _ in folds] or [len(codes)])
    most = min(MOST_COMPONENTS, features.shape[1], smallest - 1)
    right = np.zeros(most)
    for inside, outside in folds:
        mean, scale, weights, answers, shares = _components(features, codes, inside, most)
        scores = (features[outside] - mean) / scale @ weights
        for used in range(1, most + 1):
            said = (scores[:, :used] @ answers[:, :used].T + shares).argmax(1)
            right[used - 1] += (said == codes[outside]).sum()
    chosen = 1 + int(right.argmax()) if folds else min(len(names) - 1, most)
    if not folds:
        log.warning("A label has a single training specimen: PLS-DA takes %d components.", chosen)
    every = np.arange(len(codes))
    mean, scale, weights, answers, shares = _components(features, codes, every, chosen)
    return PlsDa(names, chosen, mean, scale, weights @ answers.T, shares)


def _components(
    features: Floats, codes: NDArray[np.intp], rows: NDArray[np.intp], count: int
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Fit on some rows; the first k columns are the fit of k components, as NIPALS deflates.

    Returns:
        Mean and scale ``(F,)``, weights of scores ``(F, count)``, what each score says of each
        label ``(K, count)``, and shares of the labels ``(K,)``.
    """
    from sklearn.cross_decomposition import PLSRegression

    own = features[rows]
    mean, scale = own.mean(0), own.std(0)
    # A constant band carries nothing; below this its spread is rounding.
    scale = np.where(scale > 1e-9 * np.maximum(np.abs(mean), 1e-12), scale, np.inf)
    truth = np.eye(codes.max() + 1)[codes[rows]]
    model = PLSRegression(count, scale=False)
    with warnings.catch_warnings():
        # Said where the labels are explained to rounding, or two directions serve equally well.
        warnings.simplefilter("ignore")
        model.fit((own - mean) / scale, truth)
    weights, answers = np.asarray(model.x_rotations_), np.asarray(model.y_loadings_)
    return mean, scale, weights, answers, truth.mean(0)


def fit_lda(features: Floats, labels: Sequence[str]) -> Predict:
    """Fit linear discriminant analysis with a shrunken covariance; return what names rows.

    The covariance within the labels is shrunken once for all of them: estimated label by label,
    as scikit-learn's ``shrinkage="auto"`` does, it is shrunken so far that bands which differ
    beneath strong common variation are lost.

    Takes features ``(M, F)`` and a label for each, two different ones at least.

    Source: Ledoit, Wolf 2004, "A well-conditioned estimator for large-dimensional covariance
        matrices".
    """
    from sklearn.covariance import LedoitWolf

    names, codes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    means = np.stack([features[codes == code].mean(0) for code in range(len(names))])
    within = features - means[codes]
    covariance = LedoitWolf(assume_centered=True).fit(within).covariance_
    # A pseudo-inverse, for a covariance that is 0: no row differs from the mean of its label.
    slopes = np.linalg.pinv(covariance, hermitian=True) @ means.T
    offsets = np.log(counts / len(codes)) - (means.T * slopes).sum(0) / 2

    def predict(rows: Floats) -> NDArray[np.str_]:
        return np.asarray(names[(rows @ slopes + offsets).argmax(1)])

    return predict


def score_classifier(name: str, parts: Mapping[str, Held], *, seed: int = 0) -> EvaluationResult:
    """Fit a classifier on the labelled training rows and score validation and test.

    Args:
        name: ``pls_da`` or ``lda``.
        parts: ``train``, ``validation`` and ``test``, with mean spectra.
        seed: Seed of folds.

    Returns:
        ``control/<name>_top1`` and ``..._balanced``, the same of validation, and what was said of
        each row; nothing where training or part have too few labels.
    """
    known = parts["train"].labelled()
    metrics: dict[str, float] = {}
    predictions: dict[str, pd.DataFrame] = {}
    if len(set(known.labels)) < 2:
        return EvaluationResult(metrics, predictions)
    train = check_features(known.features, known.labels)
    fits = {
        "pls_da": partial(_pls_da, train, known.labels.tolist(), known.specimens, seed),
        "lda": partial(fit_lda, train, known.labels.tolist()),
    }
    predict = fits[name]()
    for part, short in (("validation", "val"), ("test", "test")):
        given = Embeddings(parts[part], seed=seed)
        rows = given.rows
        if not len(rows.labels):
            continue
        result = judge(predict(check_features(rows.features, rows.labels)), rows.labels)
        score = given.averaged(result.correct, rows.specimens)
        top1 = control_metric(name, main_accuracy(), short)
        metrics |= {top1: score.mean, f"{top1}_low": score.low, f"{top1}_high": score.high}
        metrics[f"{top1.removesuffix('top1')}balanced"] = result.balanced
        predictions[part] = prediction_table(rows, {name: result.predictions})
    return EvaluationResult(metrics, predictions)


def _pls_da(train: Floats, labels: list[str], specimens: list[str], seed: int) -> Predict:
    return fit_pls_da(train, labels, specimens, seed=seed).predict
