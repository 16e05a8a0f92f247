"""Cross-modal identity loss with instance identity (the loss "cid" of ITSELF, Nguyen et al. 2026, after CFAM).

Each pair, and the two wrong pairs that the model finds most alike (each picture with the hardest sentence of another
person, each sentence with the hardest picture of another person), are classified as that person or as "mismatch":

    loss = mean over the 3B pairs of 1/2 [ CE(g([v; t])) + CE(g([t; v])) ]  +  mean CE(W v) + mean CE(W t)

The label of a mismatch is C, one past the last person. The released code takes the largest identity of the batch plus
one, which is nearly always a real person (`batch_max` reproduces that). A batch of one identity has no wrong pairs;
its right ones are classified all the same.

Axes: Q pairs of this process, N pairs of all processes, D embedding width, C people.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from passerby.losses.pairs import Candidates, candidates_of, exact, same_identity, scores


@torch.no_grad()
def hardest_of_others(queries: Tensor, candidates: Tensor, query_ids: Tensor, candidate_ids: Tensor) -> Tensor:
    """The most alike candidate of another identity; any where there is no other identity.

    Args:
        queries: vectors of any length; directions are compared.
        candidates: likewise.
        query_ids: identity of each query.
        candidate_ids: identity of each candidate.

    Shape:
        queries (Q, D), candidates (N, D), query_ids (Q,), candidate_ids (N,) -> (Q,) int64.
    """
    # The length of a query changes nothing about the order of its candidates.
    alike = scores(queries, torch.nn.functional.normalize(exact(candidates), dim=1))
    return alike.masked_fill(same_identity(query_ids, candidate_ids), -torch.inf).argmax(dim=1)


def cross_modal_identity(
    images: Tensor,
    texts: Tensor,
    ids: Tensor,
    project: Callable[[Tensor], tuple[Tensor, Tensor]],
    classify: Callable[[Tensor], Tensor],
    mismatch: int,
    everywhere: Candidates | None = None,
    batch_max: bool = False,
) -> Tensor:
    """The part of the loss that looks at pairs.

    The first layer of g is linear in ``[v; t]``, so its two halves are computed once for each vector and added up for
    each pair, which is a third of the work of joining the vectors first.

    Args:
        images: image vectors of this process, not normalised.
        texts: text vectors of this process, not normalised; row i belongs to row i of `images`.
        ids: identity of each pair, 0..C-1.
        project: vectors to what they add to g's first layer, as the first and as the second of a pair.
        classify: the sum of both to logits of C + 1 classes.
        mismatch: the class of wrong pairs, C.
        everywhere: the pairs of all processes.
        batch_max: the released code's label of wrong pairs instead.

    Shape:
        images (Q, D), texts (Q, D), ids (Q,) -> scalar.

    Raises:
        ConfigError: the shapes disagree.
    """
    others = candidates_of("cid", images, texts, ids, everywhere)
    hard_text = hardest_of_others(images, others.texts, ids, others.ids)  # (Q,)
    hard_image = hardest_of_others(texts, others.images, ids, others.ids)
    pictures, sentences = project(images), project(texts)
    if everywhere is None:
        wrong_pictures = tuple(half[hard_image] for half in pictures)
        wrong_sentences = tuple(half[hard_text] for half in sentences)
    else:
        wrong_pictures, wrong_sentences = project(others.images[hard_image]), project(others.texts[hard_text])
    left = [torch.cat([pictures[side], wrong_pictures[side], pictures[side]]) for side in (0, 1)]  # (3Q, D) each
    right = [torch.cat([sentences[side], sentences[side], wrong_sentences[side]]) for side in (0, 1)]
    label = others.ids.max() + 1 if batch_max else ids.new_tensor(mismatch)
    # A batch of one identity has no other to draw from: its wrong pairs are skipped.
    several = (others.ids != others.ids[0]).any()
    wrong = torch.where(several, label, -100).expand(2 * len(ids))
    labels = torch.cat([ids, wrong])  # (3Q,)
    both = exact(classify(torch.cat([left[0] + right[1], right[0] + left[1]])))  # (6Q, C + 1)
    return cross_entropy(both, labels.repeat(2))


def instance_identity(image_logits: Tensor, text_logits: Tensor, labels: Tensor) -> Tensor:
    """``mean CE(W v) + mean CE(W t)``, not halved: logits (Q, C'), (Q, C') and labels (Q,) -> scalar."""
    return cross_entropy(exact(image_logits), labels) + cross_entropy(exact(text_logits), labels)
