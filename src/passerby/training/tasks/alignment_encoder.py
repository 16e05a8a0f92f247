"""What an alignment trains: a CLIP, a trained model of ours, or two towers by name, with a local branch or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from passerby.errors import ConfigError
from passerby.models.checkpoint import read_checkpoint
from passerby.models.clip_folder import read_clip
from passerby.models.dual_encoder import DualEncoder, build_dual_encoder
from passerby.models.itself import Itself
from passerby.models.itself_options import LocalOptions
from passerby.models.restore import restore_encoder
from passerby.models.sources import locate, source_folder
from passerby.models.tokenizer import Tokenizer
from passerby.models.towers.registry import text_tower_tokenizer
from passerby.nn.transformer import SelfAttention
from passerby.training.tasks.alignment_recipe import AlignmentModel


def build_encoder(
    config: AlignmentModel, image_size: tuple[int, int], captions: Sequence[str]
) -> tuple[DualEncoder, Tokenizer]:
    """The encoder of a recipe and the tokenizer that belongs to it.

    Args:
        config: the recipe's section.
        image_size: (height, width) in pixels; positions of a pretrained CLIP are brought to it.
        captions: those of the training split, which a tokenizer is trained on where the text tower brings none.

    Raises:
        ConfigError: a tower, an option or the size does not fit.
        CheckpointError: the CLIP or the model cannot be had, or its files are damaged.
    """
    if config.clip is not None:
        clip = read_clip(source_folder(config.clip), image_size, config.stride or None)
        encoder, tokenizer = clip.model.train(), clip.tokenizer
        changed = config.pixels.model_dump(exclude_none=True)
        encoder.image_tower.preprocessing = replace(encoder.image_tower.preprocessing, **changed)
    elif config.start is not None:
        encoder, tokenizer = _from_trained(config.start, image_size)
    else:
        encoder, tokenizer = _from_towers(config, image_size, captions)
    if config.local is not None:
        encoder = Itself(encoder, LocalOptions.from_dict(config.local))
    return encoder, tokenizer


def _from_trained(name: str, image_size: tuple[int, int]) -> tuple[DualEncoder, Tokenizer]:
    """A trained dual encoder with a global branch only; its own local branch would be of another kind."""
    checkpoint = read_checkpoint(locate(name).folder)
    model = restore_encoder(checkpoint)
    if not isinstance(model, DualEncoder) or isinstance(model, Itself):
        raise ConfigError(
            f"model.start is {name}, a {checkpoint.config.kind} model; an alignment goes on from a plain dual encoder"
        )
    if tuple(model.preprocessing.image_size) != tuple(image_size):
        reads = "x".join(map(str, model.preprocessing.image_size))
        raise ConfigError(
            f"data.image_size is {image_size[0]}x{image_size[1]}, and {name} reads {reads}; set data.image_size to that"
        )
    return model.train(), checkpoint.tokenizer()


def _from_towers(
    config: AlignmentModel, image_size: tuple[int, int], captions: Sequence[str]
) -> tuple[DualEncoder, Tokenizer]:
    if config.image is None or config.text is None:
        raise ConfigError("give either model.clip, or both model.image and model.text")
    length = config.tokenizer.context_length
    tokenizer = text_tower_tokenizer(config.text.name, length, **config.text.options)
    if tokenizer is None:
        tokenizer = Tokenizer.train(captions, config.tokenizer.vocabulary, length)
    encoder = build_dual_encoder(
        {"image": config.image.model_dump(), "text": config.text.model_dump(), "embedding_dim": config.embedding_dim},
        image_size=image_size,
        vocabulary_size=tokenizer.vocabulary_size,
        context_length=length,
        temperature=config.temperature,
    )
    most = encoder.text_tower.options.get("context_length")
    if isinstance(most, int) and length > most:
        raise ConfigError(
            f"model.tokenizer.context_length is {length}; the text tower {config.text.name} takes at most {most}"
        )
    return encoder, tokenizer


def set_text_dropout(encoder: DualEncoder, share: float) -> None:
    """Drop a share of the attention weights of the text tower in training.

    Raises:
        ConfigError: the text tower has no attention of ours.
    """
    layers = [part for part in encoder.text_tower.modules() if isinstance(part, SelfAttention)]
    if share and not layers:
        raise ConfigError(
            f"model.text_dropout is {share}; the text tower {encoder.text_tower.name} has no attention to drop from"
        )
    for layer in layers:
        layer.dropout = share


def freeze_patches(encoder: DualEncoder) -> None:
    """Keep the first layer of the image tower, which cuts pictures into patches, as it is (Chen et al. 2021).

    Raises:
        ConfigError: the image tower has no such layer.
    """
    first = next((part for part in encoder.image_tower.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        raise ConfigError(f"model.freeze_patches: the image tower {encoder.image_tower.name} has no patches")
    first.requires_grad_(requires_grad=False)
