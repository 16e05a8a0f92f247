"""What the best share of the global branch would reach if it were chosen on the very split that is reported.

That is how the release of ITSELF reports itself: the best of its mixtures on the test split. Here the share is chosen
on validation (`passerby.training.mixing`); this report stands beside the honest one and says in its name, its protocol
and its warnings that it is no result.

Axes: Q queries, G gallery items, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from passerby.data.records import Split
from passerby.errors import ConfigError
from passerby.evaluation.branches import split_branches
from passerby.evaluation.evaluate import evaluate_features, rank_task
from passerby.evaluation.features import Features, Vectors
from passerby.evaluation.protocol import Protocol
from passerby.evaluation.report import Report
from passerby.evaluation.scoring import Integers, Scoring, dot_product
from passerby.evaluation.task import set_up
from passerby.metrics import hits_at, mean_over_queries

#: Shares of the global branch that are tried, here and where one is chosen.
SHARES = tuple(round(0.05 * step, 2) for step in range(21))

_BRANCHES = ("global", "local")


def refuse_single_branch(name: str, branches: Mapping[str, tuple[int, int]]) -> None:
    """Refuse a model that has nothing to mix, before minutes are spent on encoding.

    Args:
        name: of the model.
        branches: columns of each branch that its vectors hold.

    Raises:
        ConfigError: they are not "global" and "local".
    """
    if set(branches) != set(_BRANCHES):
        raise ConfigError(
            f"the best mixture of a global and a local branch was asked for; the vectors of {name} hold "
            f"{' and '.join(branches) or 'no branches'}. It needs a model of the kind itself, whose share of the "
            "global branch lies between 0 and 1"
        )


def evaluate_mixture_oracle(
    features: Features,
    split: Split,
    protocol: Protocol,
    branches: Mapping[str, tuple[int, int]],
    *,
    name: str = "model",
    dataset: str = "",
    fingerprint: str | None = None,
    trained_on: str | None = None,
    seed: int = 0,
    scoring: Scoring | None = None,
) -> Report:
    """Report the share of `SHARES` whose R@1 on the reported split is highest; of equal ones the nearest to a half.

    Args:
        features: of the whole model; their own mixture is not looked at.
        split: as for `passerby.evaluation.evaluate`, like all that is not said here.
        protocol: of the honest report; the oracle's says that it was selected on the split that it reports.
        branches: columns of "global" and "local" in the vectors.
        name: of the model; the row is called by it and by what it is.
        dataset: name of the data set.
        fingerprint: of the checkpoint.
        trained_on: what the model learned from.
        seed: of the bootstrap and of drawn galleries.
        scoring: gives the scores of each mixture; the dot product where nothing is said.

    Raises:
        ConfigError: the vectors do not hold both branches.
        DataError: the split has nothing to find, or the features are not its own.
    """
    refuse_single_branch(name, branches)
    parts = split_branches(features, branches)
    whole, local = (parts[branch] for branch in _BRANCHES)
    both = replace(
        features,
        images=_beside(whole.images, local.images),
        captions=_beside(whole.captions, local.captions),
        pooled=_beside(whole.pooled, local.pooled),
    )
    rules = replace(protocol, selection_split=protocol.report_split, allow_test_selection=True)
    task, base, width = set_up(split, rules), scoring or dot_product(), whole.images.shape[1]

    def r1(share: float) -> float:
        drawn = rank_task(both, task, _mixed(share, width, base), seed=seed)
        return mean_over_queries(np.mean([hits_at(draw, 1, rules.ties) for draw in drawn], axis=0))

    best = max(SHARES, key=lambda share: (r1(share), -abs(share - 0.5)))
    report = evaluate_features(
        both,
        split,
        rules,
        name=f"{name}, best of {len(SHARES)} mixing weights ({best:g}) on {split.name} itself; not a result",
        dataset=dataset,
        fingerprint=fingerprint,
        trained_on=trained_on,
        seed=seed,
        scoring=_mixed(best, width, base),
    )
    warning = f"the mixing weight {best:g} was chosen on {split.name}, the split that is reported: not a result"
    return replace(report, warnings=(*report.warnings, warning))


def _mixed(share: float, width: int, base: Scoring) -> Scoring:
    """Scores ``l cos(global) + (1 - l) cos(local)`` of vectors that hold both unit parts, D = width + rest."""

    def blocks(queries: Vectors, gallery: Vectors, own: Integers) -> Iterator[Vectors]:
        weights = np.where(np.arange(queries.shape[1]) < width, share, 1 - share).astype(queries.dtype)  # (D,)
        return base.blocks(queries * weights, gallery, own)

    return Scoring(f"{base.name}, {share:g} global", blocks, base.transductive)


def _beside(whole: Vectors | None, local: Vectors | None) -> Vectors | None:
    return None if whole is None or local is None else np.concatenate([whole, local], axis=1)
