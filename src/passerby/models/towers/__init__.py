"""Image and text towers, one a file, known by their registry names; importing this package imports no torch."""

from passerby.models.preprocessing import Preprocessing
from passerby.models.towers.registry import (
    image_tower,
    image_tower_names,
    image_tower_options,
    register_image_tower,
    register_text_tower,
    text_tower,
    text_tower_names,
    text_tower_options,
    text_tower_tokenizer,
)

__all__ = [
    "Preprocessing",
    "image_tower",
    "image_tower_names",
    "image_tower_options",
    "register_image_tower",
    "register_text_tower",
    "text_tower",
    "text_tower_names",
    "text_tower_options",
    "text_tower_tokenizer",
]
