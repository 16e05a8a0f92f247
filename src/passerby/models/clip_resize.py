"""A CLIP for pictures of another size than it was trained on, or with patches that overlap.

Only asked for, never done on the way: a checkpoint of another size is refused elsewhere. What was done goes to the log.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from passerby.errors import ConfigError
from passerby.models.clip_formats import ClipParts
from passerby.nn.position_grid import patch_grid, resample_positions

_LOGGER = logging.getLogger(__name__)
_POSITIONS = "image_tower.positions"


def at_size(parts: ClipParts, image_size: tuple[int, int] | None = None, stride: int | None = None) -> ClipParts:
    """Bring the positions of a CLIP's vision transformer to the patches of another picture size.

    Args:
        parts: a CLIP as it was read.
        image_size: (height, width) in pixels; None keeps it.
        stride: pixels from one patch to the next; the patch's side when None.

    Raises:
        ConfigError: the image tower is no vision transformer of CLIP, or the size does not fit the patches.
    """
    if image_size is None and stride is None:
        return parts
    if parts.image_name != "clip":
        raise ConfigError(f"the image tower {parts.image_name} cannot be brought to another size here; use its own")
    patch = int(parts.image["patch"])
    before = (int(parts.image["image_size"][0]), int(parts.image["image_size"][1]))
    size = before if image_size is None else (int(image_size[0]), int(image_size[1]))
    step = patch if stride is None else stride
    old, new = patch_grid(before, patch, patch), patch_grid(size, patch, step)
    tensors = dict(parts.tensors)
    tensors[_POSITIONS] = resample_positions(tensors[_POSITIONS], old, new).contiguous()
    if old != new:
        _LOGGER.info("positions were brought from %dx%d to %dx%d patches", *old, *new)
    options = {**parts.image, "image_size": list(size)}
    if step != patch:
        options["stride"] = step
    return replace(parts, image=options, tensors=tensors, preprocessing=replace(parts.preprocessing, image_size=size))
