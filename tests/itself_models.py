"""A small model with a local branch that several tests build on."""

from pathlib import Path

import torch

from passerby.models.itself import Itself, build_itself
from passerby.models.restore import save_model
from passerby.models.tokenizer import Tokenizer
from tiny_models import write_clip_tokenizer

_TEXT = {"clip": {}, "transformer": {"dropout": 0.0}}
SENTENCES = [
    "a woman in a red coat with a black backpack",
    "a man",
    "a man wearing light-blue jeans and grey trainers and a striped shirt",
]


def clip_tokenizer(folder: Path, context_length: int = 16) -> Tokenizer:
    write_clip_tokenizer(folder / "clip_tokenizer.json")
    return Tokenizer.from_file(folder / "clip_tokenizer.json", context_length)


def tiny_itself(
    vocabulary: int = 60, local: dict | None = None, text: str = "clip", context_length: int = 16, **image
) -> Itself:
    torch.manual_seed(0)
    model = build_itself(
        {
            "image": {
                "name": "clip",
                "options": {"image_size": [48, 24], "patch": 8, "channels": 24, "layers": 4, "heads": 2, **image},
            },
            "text": {"name": text, "options": {"channels": 24, "layers": 4, "heads": 2, **_TEXT[text]}},
            "embedding_dim": 20,
            "local": {"dim": 32, **(local or {})},
        },
        vocabulary_size=vocabulary,
        context_length=context_length,
    )
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "local" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def save_itself(folder: Path, workplace: Path, **local) -> tuple[Itself, Tokenizer]:
    tokenizer = clip_tokenizer(workplace)
    model = tiny_itself(tokenizer.vocabulary_size, local)
    save_model(model, folder, kind="itself", name="tiny itself", preprocessing=model.preprocessing, tokenizer=tokenizer)
    return model, tokenizer
