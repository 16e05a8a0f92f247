"""What a ranking is worth: pure functions on numpy arrays, no torch and no file.

relevance = relevance_from_labels(query_people, gallery_people)
groups = rank_features(queries, gallery, relevance)
r1, ap = hits_at(groups, 1), average_precision(groups)
"""

from passerby.metrics.bootstrap import identity_bootstrap
from passerby.metrics.positions import (
    TieGroups,
    block_rows,
    check_finite,
    rank_at_random,
    rank_blocks,
    rank_features,
    rank_scores,
)
from passerby.metrics.precision import PrecisionRule, average_precision, precision_at
from passerby.metrics.ranking import (
    Ties,
    cmc_curve,
    first_rank,
    hits_at,
    inverse_negative_penalty,
    mean_over_queries,
    median_over_queries,
)
from passerby.metrics.relevance import Relevance, relevance_from_labels
from passerby.metrics.single_shot import rank_single_shot

__all__ = [
    "PrecisionRule",
    "Relevance",
    "TieGroups",
    "Ties",
    "average_precision",
    "block_rows",
    "check_finite",
    "cmc_curve",
    "first_rank",
    "hits_at",
    "identity_bootstrap",
    "inverse_negative_penalty",
    "mean_over_queries",
    "median_over_queries",
    "precision_at",
    "rank_at_random",
    "rank_blocks",
    "rank_features",
    "rank_scores",
    "rank_single_shot",
    "relevance_from_labels",
]
