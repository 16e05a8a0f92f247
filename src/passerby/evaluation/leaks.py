"""Whether a figure is too good to be true: tests that an honest scorer passes and a leaking one does not.

A text encoder that is shown the query's own picture finds that picture whatever the sentence says; rows of a gallery
that are equal put a ceiling on every figure. Both happened in published tables, and each leaves traces: noise finds
pictures, an answer depends on a picture that was not asked about, R@1 stands at the share of distinct rows.

Axes: Q queries, N gallery items, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from passerby.data.records import Split
from passerby.errors import DataError
from passerby.metrics import Relevance, hits_at, mean_over_queries, rank_at_random, rank_scores

Scores: TypeAlias = "NDArray[np.floating]"
Text = TypeVar("Text")
Picture = TypeVar("Picture")
#: Scores each of Q texts with each of N pictures, (Q, N). Where both are as many, row i belongs to picture i; a scorer
#: that makes use of that is what these tests find.
Scorer: TypeAlias = Callable[[Sequence[Text], Sequence[Picture]], Scores]

#: Relative distance of R@1 to groups / rows at which the duplicates, and not the model, decide it.
_AT_THE_CEILING = 0.01
_SIGMAS = 3.0
#: Scores of the same pair in another place may differ by rounding.
_TOLERANCE = 1e-4


def equal_rows(vectors: NDArray[np.floating]) -> tuple[int, int]:
    """How many distinct rows there are, and how many rows: (N, D) -> (groups, rows)."""
    rows = np.ascontiguousarray(vectors)
    return len({row.tobytes() for row in rows}), len(rows)


def refuse_equal_rows(vectors: NDArray[np.floating], names: Sequence[str]) -> None:
    """Refuse a gallery in which rows are equal, which an honest protocol has no use for.

    Args:
        vectors: of the gallery, (N, D).
        names: what each row is, for the message.

    Raises:
        DataError: rows are equal; counts them and names two.
    """
    seen: dict[bytes, int] = {}
    for place, row in enumerate(np.ascontiguousarray(vectors)):
        first = seen.setdefault(row.tobytes(), place)
        if first != place:
            groups, rows = equal_rows(vectors)
            raise DataError(
                f"the gallery has {rows} rows of which {groups} are distinct; the first two that are equal are "
                f"{names[first]!r} and {names[place]!r}. No figure above {100 * groups / rows:.2f} % R@1 would mean "
                "anything. List each picture once; rows that repeat belong to the paired-batch protocol alone"
            )


def refuse_repeated_pictures(split: Split) -> None:
    """Refuse a split that lists the same file under several ids, as a row for each caption would.

    Raises:
        DataError: names the file and both ids.
    """
    seen: dict[object, str] = {}
    for image in split.images:
        first = seen.setdefault(image.path, image.image_id)
        if first != image.image_id:
            raise DataError(
                f"split {split.name!r} lists the picture {image.path.name} twice, as {first!r} and {image.image_id!r}; "
                "list each picture once and give it several captions"
            )


def duplicate_diagnosis(recall_at_1: float, groups: int, rows: int, loss: float | None = None) -> list[str]:
    """What duplicates among the rows say about a figure; nothing where there are none.

    Args:
        recall_at_1: in [0, 1].
        groups: distinct rows.
        rows: all rows.
        loss: the validation loss of those rows, where the pairs of each group stand together; None if unknown.

    Returns:
        Sentences for people, empty when there is nothing to call out.
    """
    if groups >= rows:
        return []
    ceiling = groups / rows
    found = []
    if abs(recall_at_1 - ceiling) <= _AT_THE_CEILING * ceiling:
        found.append(
            f"R@1 is {100 * recall_at_1:.2f} % and {groups:,} of {rows:,} rows are distinct ({100 * ceiling:.2f} %): "
            "the duplicates decide it. It says that pictures are told apart, not that sentences are understood"
        )
    floor = math.log(rows / groups)  # by convexity the lowest that groups of any sizes can reach
    if loss is not None and loss < floor:
        found.append(
            f"a loss of {loss:.3f} is below {floor:.3f}, which {rows / groups:.1f} equal rows for each picture allow; "
            "the rows were not scored against each other, or their order gives them away"
        )
    return found


def noise_captions(split: Split, words: int = 12, seed: int = 0) -> Split:
    """The same split with captions that know nothing: words drawn from all captions, whoever they describe.

    Args:
        split: with captions.
        words: in each new caption.
        seed: of the draw.

    Raises:
        DataError: there are no words to draw from.
    """
    known = sorted({word for caption in split.captions for word in caption.text.split()})
    if not known:
        raise DataError(f"split {split.name!r} has no words to make noise of; its captions are empty")
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(known, size=words)) for _ in split.captions]
    captions = tuple(replace(caption, text=text) for caption, text in zip(split.captions, texts, strict=True))
    return replace(split, captions=captions)


def noise_diagnosis(scores: Scores, relevance: Relevance, k: int = 1) -> list[str]:
    """Whether sentences that say nothing find what they were paired with.

    Args:
        scores: of noise captions with the gallery.
        relevance: whom each caption was paired with.
        k: rank at which hits are counted.

    Shape:
        scores (Q, N).

    Returns:
        A sentence where R@k lies more than three standard errors above chance; empty otherwise.
    """
    found = mean_over_queries(hits_at(rank_scores(scores, relevance), k))
    by_chance = hits_at(rank_at_random(relevance), k)
    chance = mean_over_queries(by_chance)
    valid = by_chance[~np.isnan(by_chance)]
    error = math.sqrt(float((valid * (1 - valid)).sum())) / max(1, len(valid))
    if found <= chance + _SIGMAS * error:
        return []
    return [
        f"captions of noise reach R@{k} of {100 * found:.1f} %, chance is {100 * chance:.1f} % with a standard error "
        f"of {100 * error:.1f}: the scores know which picture a caption was paired with"
    ]


def permutation_diagnosis(
    score: Scorer, texts: Sequence[Text], pictures: Sequence[Picture], seed: int = 0
) -> list[str]:
    """Whether another order of the gallery gives the same scores in that order.

    Args:
        score: what is examined.
        texts: Q sentences.
        pictures: as many pictures, row i belonging to text i.
        seed: of the order.

    Returns:
        A sentence where a score changed; empty otherwise.
    """
    order = np.random.default_rng(seed).permutation(len(pictures))
    before, after = score(texts, pictures), score(texts, [pictures[place] for place in order])
    moved = float(np.abs(np.asarray(after) - np.asarray(before)[:, order]).max(initial=0))
    if moved <= _TOLERANCE:
        return []
    return [
        f"in another order of the gallery a score of the same pair differs by {moved:.3g}: the place of a picture "
        "counts"
    ]


def pairing_diagnosis(score: Scorer, texts: Sequence[Text], pictures: Sequence[Picture], query: int = 0) -> list[str]:
    """Whether a query's scores with other pictures depend on the picture that it is paired with.

    Args:
        score: what is examined.
        texts: Q sentences.
        pictures: as many pictures, row i belonging to text i; at least two.
        query: whose picture is replaced by another.

    Returns:
        A sentence where a score changed; empty otherwise.

    Raises:
        DataError: there are fewer than two pictures.
    """
    if len(pictures) < 2:
        raise DataError(f"{len(pictures)} pictures; expected at least two, one of which replaces another")
    replaced = list(pictures)
    replaced[query] = pictures[(query + 1) % len(pictures)]
    before, after = np.asarray(score(texts, pictures)), np.asarray(score(texts, replaced))
    others = np.arange(len(pictures)) != query
    moved = float(np.abs(after - before)[:, others].max(initial=0))
    if moved <= _TOLERANCE:
        return []
    return [
        f"with another picture in the place of its own, query {query} scores the others differently (by {moved:.3g}): "
        "the text encoder sees the answer"
    ]
