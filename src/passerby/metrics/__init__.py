"""What a ranking is worth: pure functions on numpy arrays, no torch and no file.

relevance = relevance_from_labels(query_people, gallery_people)
groups = rank_features(queries, gallery, relevance)
r1, ap = hits_at(groups, 1), average_precision(groups)
"""

from passerby.metrics.bootstrap import identity_bootstrap
from passerby.metrics.positions import TieGroups, check_finite, rank_at_random, rank_features, rank_scores
from passerby.metrics.ranking import (
    Ties,
    average_precision,
    first_rank,
    hits_at,
    inverse_negative_penalty,
    mean_over_queries,
)
from passerby.metrics.relevance import Relevance, relevance_from_labels

__all__ = [
    "Relevance",
    "TieGroups",
    "Ties",
    "average_precision",
    "check_finite",
    "first_rank",
    "hits_at",
    "identity_bootstrap",
    "inverse_negative_penalty",
    "mean_over_queries",
    "rank_at_random",
    "rank_features",
    "rank_scores",
    "relevance_from_labels",
]
