"""Which data sets show the same people, and what that means for a model trained on one and tested on another.

ICFG-PEDES and RSTPReid were both cut from MSMT17, and CUHK-PEDES from Market-1501, CUHK03 and others: a model that
learned from one has often seen the people of the other, so the figure is no figure across domains.
"""

from __future__ import annotations

import re

#: Name -> how it is written, without anything but letters and digits.
_WRITTEN: dict[str, str] = {
    "CUHK-PEDES": "cuhkpedes",
    "ICFG-PEDES": "icfgpedes",
    "RSTPReid": "rstpreid",
    "Market-1501": "market1501",
    "MSMT17": "msmt17",
    "CUHK03": "cuhk03",
    "DukeMTMC-reID": "dukemtmc",
    "Flickr30k": "flickr30k",
    "Flickr8k": "flickr8k",
}
#: Sets of data sets that were made from the same pictures of the same people.
_SHARED: tuple[frozenset[str], ...] = (
    frozenset({"MSMT17", "ICFG-PEDES", "RSTPReid"}),
    frozenset({"CUHK-PEDES", "Market-1501"}),
    frozenset({"CUHK-PEDES", "CUHK03"}),
)


def domain_warnings(trained_on: str | None, tested_on: str) -> list[str]:
    """What to say about a model that is tested on other data than it learned from.

    Args:
        trained_on: what the checkpoint says, in any words; None or unknown words say nothing.
        tested_on: name of the data set that is reported.

    Returns:
        one sentence where both sets were made from pictures of the same people, else none.
    """
    if trained_on is None:
        return []
    seen, tested = data_sets_in(trained_on), data_sets_in(tested_on)
    return [
        f"trained on {one}, tested on {other}: both were made from pictures of the same people, who may have been "
        "seen in training; this is no result across domains"
        for one in seen
        for other in tested
        if one != other and any({one, other} <= together for together in _SHARED)
    ]


def data_sets_in(text: str) -> list[str]:
    """The public data sets that a text names, however it writes them."""
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    return [name for name, written in _WRITTEN.items() if written in plain]
