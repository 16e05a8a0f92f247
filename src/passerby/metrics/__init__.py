"""What a ranking is worth: pure functions on numpy arrays, no torch and no file.

relevance = relevance_from_labels(query_people, gallery_people)
groups = rank_features(queries, gallery, relevance)
r1, ap = hits_at(groups, 1), average_precision(groups)
"""

from passerby.metrics.bootstrap import identity_bootstrap
from passerby.metrics.k_reciprocal import KReciprocal, k_reciprocal_blocks
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
from passerby.metrics.query_expansion import AlphaExpansion, expanded_features
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
    "AlphaExpansion",
    "KReciprocal",
    "PrecisionRule",
    "Relevance",
    "TieGroups",
    "Ties",
    "average_precision",
    "block_rows",
    "check_finite",
    "cmc_curve",
    "expanded_features",
    "first_rank",
    "hits_at",
    "identity_bootstrap",
    "inverse_negative_penalty",
    "k_reciprocal_blocks",
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
