"""Pictures of a layout beside the street's own: boxes that fit, boxes that miss, and places without anybody.

Published sets have them: Market-1501's boxes drawn by hand, its junk and its distractors; CUHK03's labelled boxes.
All follow from the street's own picture, so they take nothing from its sources of chance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from passerby.data.world.attributes import Identity
from passerby.data.world.cameras import CAMERAS, expose
from passerby.data.world.layout import Extra
from passerby.data.world.render import render
from passerby.data.world.scenery import background
from passerby.data.world.street import Picture

_TURN, _STRIDE = 9.0, 0.27  # degrees, and share of a walking cycle, from one moment to the next


def retake(extra: Extra, picture: Picture, identity: Identity) -> np.ndarray:
    """Draw an extra picture.

    Args:
        extra: what is wanted.
        picture: the street's own picture that it lies beside.
        identity: the person in it.

    Shape:
        - returns: (H, W, 3) uint8, the size of the street's own picture
    """
    image, view = picture.rendering.image, picture.view
    height, width = image.shape[:2]
    if extra.kind == "junk":  # the lower right of the person, blown up to a box of its own
        part = Image.fromarray(image).crop((width // 2, height // 2, width, height))
        return np.asarray(part.resize((width, height), Image.Resampling.BILINEAR))
    if extra.kind == "nobody":
        rng = np.random.default_rng((view.seed, 4))
        return expose(background(CAMERAS[view.camera].scenery, (height, width), rng), view.camera, view.light, rng)
    moved = replace(
        view,
        crop=(0.0, 0.0, 0.0, 0.0),
        yaw=view.yaw + _TURN * extra.later,
        phase=(view.phase + _STRIDE * extra.later) % 1.0,
        seed=view.seed + extra.later,
    )
    return render(identity, moved, (height, width)).image
