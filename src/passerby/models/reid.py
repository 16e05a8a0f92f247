"""The image encoder of person re-identification: a tower, one vector, and a batch normalisation before the classifier.

"BNNeck" (Luo et al. 2019, section 3.4): triplets and centers shape the vector before the normalisation, the classifier
reads it after, and what comes out of the normalisation is what is searched with. It knows no sentences.

Axes: B pictures, D width of the vector, W width of the tower, C identities of the training set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError, nearest
from passerby.models.dual_encoder import unit_rows
from passerby.models.preprocessing import Preprocessing
from passerby.models.towers.base import ImageTower
from passerby.models.towers.registry import image_tower, image_tower_options

_KEYS = ("image", "embedding_dim", "projection", "classes")


class ReidModel(nn.Module):
    """Tower, projection, neck and classifier.

    Args:
        image: the tower.
        classes: C.
        embedding_dim: D of a linear projection; None keeps the tower's own width and has no projection.
    """

    def __init__(self, image: ImageTower, classes: int, embedding_dim: int | None = None) -> None:
        super().__init__()
        self.image_tower, self.classes = image, classes
        self.embedding_dim = image.width if embedding_dim is None else embedding_dim
        self.projection = nn.Identity() if embedding_dim is None else nn.Linear(image.width, embedding_dim)
        self.neck = nn.BatchNorm1d(self.embedding_dim)
        self.neck.bias.requires_grad_(False)  # its shift stays zero, so that the classifier's planes pass the origin
        self.classifier = nn.Linear(self.embedding_dim, classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    @property
    def preprocessing(self) -> Preprocessing:
        """What the pictures must look like."""
        return self.image_tower.preprocessing

    @property
    def image_projection(self) -> nn.Module:
        """From the tower's vector to what is searched with, before it is brought to unit length."""
        return nn.Sequential(self.projection, self.neck)

    @property
    def config(self) -> dict[str, Any]:
        """The mapping from which `build_reid_model` makes a model of the same shape, nothing fetched."""
        tower = self.image_tower
        return {
            "image": {"name": tower.name, "options": dict(tower.options)},
            "embedding_dim": self.embedding_dim,
            "projection": isinstance(self.projection, nn.Linear),
            "classes": self.classes,
        }

    def encode_images(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> unit vectors (B, D), after the neck."""
        return unit_rows(self.neck(self.projection(self.image_tower(images))))

    def forward(self, images: Tensor, gather: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Normalised pictures to what the losses read.

        Args:
            images: of this process.
            gather: puts the vectors of all processes together before the neck, whose statistics are then those of the
                whole batch.

        Shape:
            (B, 3, H, W) -> vectors before the neck (B', D), logits (B', C); B' is B times the processes gathered.
        """
        vectors = self.projection(self.image_tower(images))
        # In float32 whatever the precision around it: batch statistics and distances need it.
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = vectors.float() if gather is None else gather(vectors.float())
            return vectors, self.classifier(self.neck(vectors))


def build_reid_model(
    config: Mapping[str, Any], *, image_size: tuple[int, int] | None = None, classes: int | None = None
) -> ReidModel:
    """Build an image encoder from a checkpoint's ``model``, or from a recipe's section.

    Args:
        config: ``image`` (``name`` and optional ``options`` of a tower), ``classes``, and ``embedding_dim``: with
            ``projection`` false it is the tower's own width and may be left out.
        image_size: (height, width), given to a tower that takes it unless its options name one.
        classes: how many identities the data has, to be compared; None to take what the configuration says.

    Raises:
        ConfigError: a key, a tower or an option is unknown or missing, or the classes disagree.
    """
    for key in config:
        if key not in _KEYS:
            raise ConfigError(f"model.{key}: no such key; known: {', '.join(_KEYS)}.{nearest(key, _KEYS)}")
    count = config.get("classes", classes)
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"model.classes is {count!r}; expected how many identities the classifier tells apart")
    if classes is not None and classes != count:
        raise ConfigError(
            f"the classifier tells {count} identities apart, the data has {classes}; to go on training on other people "
            "train a new classifier, and to search give no class count"
        )
    section = config.get("image")
    if not isinstance(section, Mapping) or not isinstance(section.get("name"), str):
        raise ConfigError(f"model.image is {section!r}; expected a mapping with the tower's registry name as 'name'")
    name, options = section["name"], dict(section.get("options") or {})
    if image_size is not None and "image_size" in image_tower_options(name, **options):
        options = {"image_size": image_size, **options}
    tower, width = image_tower(name, **options), config.get("embedding_dim")
    if not config.get("projection", width is not None):
        if width not in (None, tower.width):
            raise ConfigError(f"model.embedding_dim is {width} without a projection; the tower gives {tower.width}")
        return ReidModel(tower, count)
    if not isinstance(width, int) or width < 1:
        raise ConfigError(f"model.embedding_dim is {width!r}; expected a whole number above zero")
    return ReidModel(tower, count, width)
