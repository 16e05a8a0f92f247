"""Matching with hard negatives: of a few candidates that the first stage finds alike, which one is described?

The negatives are drawn from the batch by the first stage's own scores, never from the same identity (as in ALBEF, Li
et al. 2021, section 3.2, with identities instead of pictures); the loss is the cross-entropy of the right candidate
among its negatives (localised contrastive estimation, Gao et al. 2021, eq. 1), which is about order, as re-ranking is.

Axes: B queries, N candidates of the batch, M negatives of a query.
"""

from __future__ import annotations

import torch
from torch import Tensor

from passerby.errors import ConfigError


def draw_hard_negatives(
    logits: Tensor,
    query_ids: Tensor,
    candidate_ids: Tensor,
    count: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw candidates of other identities, each in proportion to ``softmax(logits)``, none twice for a query.

    Adding Gumbel noise and taking the largest draws without replacement (Kool et al. 2019, section 2.3).

    Args:
        logits: the first stage's, so that what it confuses is drawn more often.
        query_ids: identity of each query.
        candidate_ids: identity of each candidate.
        count: M at most; fewer for all where some query has fewer candidates of other identities.
        generator: of the random numbers, on the device of the logits.

    Shape:
        logits (B, N), query_ids (B,), candidate_ids (N,) -> places of candidates (B, M) int64.

    Raises:
        ConfigError: the shapes disagree, `count` is below 1, or some query has no candidate of another identity.
    """
    if logits.shape != (len(query_ids), len(candidate_ids)) or count < 1:
        raise ConfigError(
            f"{count} negatives of logits {tuple(logits.shape)} with {len(query_ids)} and {len(candidate_ids)} "
            "identities; expected at least one, and an identity for each row and column"
        )
    other = query_ids[:, None] != candidate_ids[None, :]  # (B, N)
    fewest = int(other.sum(dim=1).min())
    if fewest < 1:
        raise ConfigError("a batch of one identity has no negatives to draw; put other people into it")
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device).clamp(min=1e-20)
    noisy = logits.detach().float() - (-uniform.log()).log()
    return noisy.masked_fill(~other, -torch.inf).topk(min(count, fewest), dim=1).indices


def matching_loss(positives: Tensor, negatives: Tensor) -> Tensor:
    """``mean_b -log( exp(p_b) / (exp(p_b) + sum_m exp(n_bm)) )``.

    Args:
        positives: logit of each query with a candidate that it describes.
        negatives: logits with candidates that it does not describe.

    Shape:
        positives (B,), negatives (B, M) -> scalar.

    Raises:
        ConfigError: the shapes disagree.
    """
    if positives.ndim != 1 or negatives.ndim != 2 or len(positives) != len(negatives):
        raise ConfigError(
            f"matching_loss: positives {tuple(positives.shape)} and negatives {tuple(negatives.shape)}; expected (B,) "
            "and (B, M)"
        )
    logits = torch.cat([positives[:, None], negatives], dim=1)  # (B, 1 + M)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -logits.log_softmax(dim=1)[:, 0].mean()
