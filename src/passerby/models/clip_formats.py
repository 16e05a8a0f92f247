"""CLIP as others store it, in transformers' form and in open_clip's, translated into our names.

The weights mean the same everywhere; only names, a few transposed matrices and the packing of query, key and value
differ. What a configuration asks for and our towers do not have is refused by name, because a CLIP computed with the
wrong activation or pooling still gives vectors, only worse ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from passerby.errors import CheckpointError
from passerby.models.clip_timm import TRUNK_NAMES, trunk_options, with_text_bias
from passerby.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from passerby.models.sources import OPEN_CLIP_CONFIG
from passerby.models.weight_files import read_weights

_EPSILON = 1e-5
_BICUBIC = 3  # Pillow's number, which transformers writes

#: Fragments of names in order of replacement: theirs -> ours.
_TRANSFORMERS_NAMES = (
    (r"^vision_model\.embeddings\.class_embedding$", "image_tower.class_token"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "image_tower.patches."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "image_tower.positions"),
    (r"^vision_model\.pre_layrnorm\.", "image_tower.norm_before."),
    (r"^vision_model\.post_layernorm\.", "image_tower.norm_after."),
    (r"^vision_model\.encoder\.layers\.", "image_tower.layers."),
    (r"^text_model\.embeddings\.token_embedding\.", "text_tower.embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "text_tower.positions"),
    (r"^text_model\.final_layer_norm\.", "text_tower.norm_after."),
    (r"^text_model\.encoder\.layers\.", "text_tower.layers."),
    (r"^visual_projection\.", "image_projection."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.self_attn\.out_proj\.", ".attention.out."),
    (r"\.self_attn\.", ".attention."),
    (r"\.mlp\.fc1\.", ".widen."),
    (r"\.mlp\.fc2\.", ".narrow."),
    (r"^logit_scale$", "log_scale"),
)
_OPEN_CLIP_NAMES = (
    (r"^text\.", ""),  # the text tower of "custom text" models has its own prefix
    (r"^visual\.class_embedding$", "image_tower.class_token"),
    (r"^visual\.conv1\.", "image_tower.patches."),
    (r"^visual\.positional_embedding$", "image_tower.positions"),
    (r"^visual\.ln_pre\.", "image_tower.norm_before."),
    (r"^visual\.ln_post\.", "image_tower.norm_after."),
    (r"^visual\.transformer\.resblocks\.", "image_tower.layers."),
    (r"^visual\.proj$", "image_projection.weight"),
    (r"^token_embedding\.", "text_tower.embedding."),
    (r"^positional_embedding$", "text_tower.positions"),
    (r"^ln_final\.", "text_tower.norm_after."),
    (r"^transformer\.resblocks\.", "text_tower.layers."),
    (r"^text_projection$", "text_projection.weight"),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attention.qkv."),
    (r"\.attn\.out_proj\.", ".attention.out."),
    (r"\.mlp\.c_fc\.", ".widen."),
    (r"\.mlp\.c_proj\.", ".narrow."),
    (r"^logit_scale$", "log_scale"),
)
_BUFFERS = ("position_ids", "attn_mask")
_TRANSPOSED = ("visual.proj", "text_projection")
#: Keys of open_clip's tower configurations that we know, with the value that our towers have where it is fixed.
_OPEN_CLIP_VISION: Mapping[str, Any] = {
    "image_size": ..., "patch_size": ..., "width": ..., "layers": ..., "head_width": ..., "mlp_ratio": ...,
    "patch_dropout": ..., "ls_init_value": None, "pool_type": "tok", "no_ln_pre": False, "attentional_pool": False,
    "final_ln_after_pool": False, "output_tokens": ..., "pos_embed_type": "learnable", "input_patchnorm": False,
}  # fmt: skip
_OPEN_CLIP_TEXT: Mapping[str, Any] = {
    "context_length": ..., "vocab_size": ..., "width": ..., "heads": ..., "layers": ..., "mlp_ratio": ...,
    "hf_tokenizer_name": ..., "tokenizer_kwargs": ..., "ls_init_value": None, "embed_cls": False, "pool_type": "argmax",
    "no_causal_mask": ..., "final_ln_after_pool": False, "proj_bias": False, "proj_type": "linear",
    "output_tokens": ..., "pad_id": 0, "eos_id": ...,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClipParts:
    """A CLIP read from a folder, in our terms.

    Attributes:
        image_name: registry name of the image tower: ``clip``, or ``timm`` for a MobileCLIP.
        image: options of that tower.
        text: options of the text tower ``clip``.
        embedding_dim: width of the shared space.
        preprocessing: what pictures must look like.
        tensors: weights under the names of `DualEncoder`, float32.
        projection: registry name of both projection heads.
    """

    image: dict[str, Any]
    text: dict[str, Any]
    embedding_dim: int
    preprocessing: Preprocessing
    tensors: dict[str, Tensor]
    image_name: str = "clip"
    projection: str = "linear"

    def of(self, tower: str) -> dict[str, Tensor]:
        """The weights of "image_tower" or "text_tower" under the names of that tower."""
        prefix = f"{tower}."
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def read_clip_parts(folder: Path) -> ClipParts:
    """Read a CLIP folder in either form.

    Raises:
        CheckpointError: a file is missing or damaged, only pickled weights are there, or the configuration asks for
            something that our towers do not have.
    """
    open_clip = (folder / OPEN_CLIP_CONFIG).is_file()
    config = _read_json(folder / (OPEN_CLIP_CONFIG if open_clip else "config.json"))
    try:
        return _read_open_clip(folder, config) if open_clip else _read_transformers(folder, config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the CLIP configuration in {folder} cannot be read: {error!r}") from error


def _read_transformers(folder: Path, config: Mapping[str, Any]) -> ClipParts:
    vision = {"image_size": 224, "patch_size": 32, "hidden_size": 768, "num_hidden_layers": 12,
              "num_attention_heads": 12, "intermediate_size": 3072, **config["vision_config"]}  # fmt: skip
    text = {"vocab_size": 49408, "max_position_embeddings": 77, "hidden_size": 512, "num_hidden_layers": 12,
            "num_attention_heads": 8, "intermediate_size": 2048, **config["text_config"]}  # fmt: skip
    for name, section in (("vision_config", vision), ("text_config", text)):
        if section.get("layer_norm_eps", _EPSILON) != _EPSILON:
            raise CheckpointError(f"{folder}: {name}.layer_norm_eps={section['layer_norm_eps']}; expected {_EPSILON}")
    image_options = {
        "image_size": [vision["image_size"]] * 2,
        "patch": vision["patch_size"],
        "channels": vision["hidden_size"],
        "layers": vision["num_hidden_layers"],
        "heads": vision["num_attention_heads"],
        "mlp_width": vision["intermediate_size"],
        "activation": vision.get("hidden_act", "quick_gelu"),
    }
    text_options = {
        "vocabulary_size": text["vocab_size"],
        "context_length": text["max_position_embeddings"],
        "channels": text["hidden_size"],
        "layers": text["num_hidden_layers"],
        "heads": text["num_attention_heads"],
        "mlp_width": text["intermediate_size"],
        "activation": text.get("hidden_act", "quick_gelu"),
        # 2 is what early configurations say by mistake; their end token is the highest id.
        "end_id": None if text.get("eos_token_id", 2) == 2 else text["eos_token_id"],
    }
    settings_path = folder / "preprocessor_config.json"
    settings = _read_json(settings_path) if settings_path.is_file() else {}
    preprocessing = _preprocessing(
        image_options["image_size"],
        settings.get("image_mean"),
        settings.get("image_std"),
        "bicubic" if settings.get("resample", _BICUBIC) == _BICUBIC else "bilinear",
    )
    weights = _translated(read_weights(folder, "model.safetensors"), _TRANSFORMERS_NAMES)
    return ClipParts(
        image_options, text_options, int(config.get("projection_dim", 512)), preprocessing, _packed(weights)
    )


def _read_open_clip(folder: Path, config: Mapping[str, Any]) -> ClipParts:
    model, settings = config["model_cfg"], config.get("preprocess_cfg", {})
    vision, text = model["vision_cfg"], model["text_cfg"]
    mobile = "timm_model_name" in vision
    activation = "quick_gelu" if model.get("quick_gelu", False) else "gelu"
    image_options = trunk_options(folder, vision) if mobile else _open_clip_image(folder, vision, activation)
    _refuse_unknown(folder, "text_cfg", text, _OPEN_CLIP_TEXT)
    text_options = {
        "vocabulary_size": text.get("vocab_size", 49408),
        "context_length": text.get("context_length", 77),
        "channels": text.get("width", 512),
        "layers": text.get("layers", 12),
        "heads": text.get("heads", 8),
        "mlp_width": int(text.get("width", 512) * text.get("mlp_ratio", 4.0)),
        "activation": activation,
        "end_id": None,
        "causal": not text.get("no_causal_mask", False),
    }
    preprocessing = _preprocessing(
        image_options["image_size"],
        settings.get("mean"),
        settings.get("std"),
        settings.get("interpolation", "bicubic"),
    )
    dim = int(model["embed_dim"])
    tensors = translate_openai(read_weights(folder, "open_clip_model.safetensors"))
    if mobile:
        return ClipParts(image_options, text_options, dim, preprocessing, with_text_bias(tensors), "timm", "affine")
    return ClipParts(image_options, text_options, dim, preprocessing, tensors)


def translate_openai(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under OpenAI's names, which open_clip kept, under the names of `DualEncoder`, float32."""
    turned = {
        name: value.T.contiguous() if name.removeprefix("text.") in _TRANSPOSED else value
        for name, value in weights.items()
    }
    return _translated(turned, (*TRUNK_NAMES, *_OPEN_CLIP_NAMES))


def _open_clip_image(folder: Path, vision: Mapping[str, Any], activation: str) -> dict[str, Any]:
    _refuse_unknown(folder, "vision_cfg", vision, _OPEN_CLIP_VISION)
    size, width = vision.get("image_size", 224), vision["width"]
    return {
        "image_size": [size, size] if isinstance(size, int) else list(size),
        "patch": vision["patch_size"],
        "channels": width,
        "layers": vision["layers"],
        "heads": width // vision.get("head_width", 64),
        "mlp_width": int(width * vision.get("mlp_ratio", 4.0)),
        "activation": activation,
    }


def _refuse_unknown(folder: Path, name: str, section: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key, value in section.items():
        expected = known.get(key, None)
        if (key not in known and value not in (None, False)) or (
            key in known and expected is not ... and value != expected
        ):
            raise CheckpointError(
                f"{folder}: {name}.{key}={value!r} asks for a CLIP variant that passerby does not have; use a plain "
                "CLIP with a vision transformer, a MobileCLIP, or its transformers form"
            )


def _preprocessing(size: Any, mean: Any, std: Any, interpolation: str) -> Preprocessing:
    values = {"image_size": size, "mean": mean or CLIP_MEAN, "std": std or CLIP_STD, "interpolation": interpolation}
    return Preprocessing.from_dict(values)


def _translated(weights: Mapping[str, Tensor], names: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for original, tensor in weights.items():
        if original.endswith(_BUFFERS):
            continue
        name = original
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        result[name] = tensor.float()
    return result


def _packed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put query, key and value, which transformers keeps apart, into one matrix: 3 x (C, C) -> (3C, C)."""
    result = {name: tensor for name, tensor in weights.items() if not re.search(r"\.attention\.[qkv]_proj\.", name)}
    for name in weights:
        if ".attention.q_proj." in name:
            parts = [weights[name.replace(".q_proj.", f".{letter}_proj.")] for letter in "qkv"]
            result[name.replace(".q_proj.", ".qkv.")] = torch.cat(parts)
    return result


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
