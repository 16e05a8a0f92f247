"""What a camera would show of a person who stands in plain view, without drawing them."""

from __future__ import annotations

import numpy as np

from passerby.data.world.attributes import PART_LABEL, PARTS


def seen(identity, share=0.05):
    """(len(PARTS),) everything that the person has, in plain view."""
    visible = np.zeros(len(PARTS), np.float32)
    for thing in ("hair", "headwear", "top", "outer", "bottom", "shoes", "bag", "carried"):
        if identity.has(f"{thing}_colour"):
            visible[PART_LABEL[thing]] = share
    if identity.outer != "none" and identity.outer_front == "closed":
        visible[PART_LABEL["top"]] = 0
    return visible
