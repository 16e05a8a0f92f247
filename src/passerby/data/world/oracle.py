"""The all-knowing reader: how well the words alone could find the right person.

It knows every person's attributes and the narrators' true rate of mistakes, sees no pixel, and scores each person by
the log-likelihood of what was claimed and of what was passed over. What it reaches is the ceiling of any retriever on
the same captions, because look-alikes that no word tells apart stay tied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from passerby.data.world.attributes import PART_OF, VALUES, Identity
from passerby.data.world.mistakes import ERROR_RATE, log_likelihood
from passerby.data.world.narrators import Description

#: Thing or pattern -> chance that a narrator is silent about it although the person has it, averaged over views.
SILENCE: Mapping[str, float] = MappingProxyType(
    {"headwear": 0.07, "outer": 0.02, "bag": 0.10, "carried": 0.35, "top_pattern": 0.15, "bottom_pattern": 0.20}
)

_ABSENT = ("none", "plain")


def score_matrix(
    descriptions: Sequence[Description],
    identities: Sequence[Identity],
    error_rate: float = ERROR_RATE,
) -> np.ndarray:
    r"""Score every person by every description.

    .. math:: s_{qn} = \sum_{f \in q} \log p(f \mid n) + \sum_{a \notin q} \log p(\mathrm{silence}_a \mid n)

    Args:
        descriptions: Q captions with their phrases.
        identities: N people.
        error_rate: the narrators' true share of mistakes.

    Shape:
        - returns: (Q, N) float64
    """
    stated = {
        (attribute, value): np.array([log_likelihood(attribute, value, person, error_rate) for person in identities])
        for attribute, values in VALUES.items()
        for value in values
    }
    silent = {attribute: _silence(attribute, identities) for attribute in SILENCE}
    scores = np.zeros((len(descriptions), len(identities)))
    for row, description in enumerate(descriptions):
        claims = sorted({(fact.attribute, fact.stated) for phrase in description.phrases for fact in phrase.facts})
        for claim in claims:
            scores[row] += stated[claim]
        spoken_of = {PART_OF.get(attribute) for attribute, _ in claims}
        named = {attribute for attribute, _ in claims}
        for attribute, evidence in silent.items():
            mute = PART_OF[attribute] not in spoken_of
            if attribute.endswith("_pattern"):  # silence about a pattern says something only when the garment is named
                mute = not mute and attribute not in named
            if mute:
                scores[row] += evidence
    return scores


def _silence(attribute: str, identities: Sequence[Identity]) -> np.ndarray:
    """(N,) log-probability that nobody speaks of a thing or pattern, person by person."""
    unspoken = math.log(SILENCE[attribute])
    return np.array([0.0 if getattr(person, attribute) in _ABSENT else unspoken for person in identities])
