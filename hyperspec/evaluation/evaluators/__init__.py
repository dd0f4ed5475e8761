"""One file per evaluator of frozen features, each in the table by its name."""

from hyperspec.evaluation.evaluators import (
    alignment,
    clusters,
    knn,
    linear,
    rankme,
    retrieval,
    view_retrieval,
)
from hyperspec.evaluation.evaluators.registry import (
    EVALUATORS,
    Evaluator,
    Scores,
    chosen,
    register_evaluator,
)

BUILT_IN = tuple(EVALUATORS)
"""What `hyperspec evaluate` runs always; further ones where the encoder's config names them."""

__all__ = ["BUILT_IN", "EVALUATORS", "Evaluator", "Scores", "chosen", "register_evaluator"]
__all__ += ["alignment", "clusters", "knn", "linear", "rankme", "retrieval", "view_retrieval"]
