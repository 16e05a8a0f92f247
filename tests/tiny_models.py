"""Small dual encoders, tokenizers and foreign folders that several tests build on."""

import json
from pathlib import Path

import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from passerby.models.dual_encoder import DualEncoder, build_dual_encoder
from passerby.models.restore import save_dual_encoder
from passerby.models.tokenizer import Tokenizer

CAPTIONS = [
    "A woman in a red coat with a black backpack.",
    "A man, wearing light-blue jeans and grey trainers.",
    "An elderly person with short hair and a striped shirt.",
] * 5


def tiny_tokenizer(context_length: int = 16) -> Tokenizer:
    return Tokenizer.train(CAPTIONS, vocabulary=120, context_length=context_length)


def tiny_model(tokenizer: Tokenizer | None = None, text: str = "conv", **text_options) -> DualEncoder:
    tokenizer = tokenizer or tiny_tokenizer()
    torch.manual_seed(0)
    model = build_dual_encoder(
        {
            "image": {"name": "stripe_conv", "options": {"channels": 8}},
            "text": {"name": text, "options": {"channels": 24, "layers": 2, **text_options}},
            "embedding_dim": 32,
        },
        image_size=(32, 16),
        vocabulary_size=tokenizer.vocabulary_size,
        context_length=tokenizer.context_length,
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training, so that folding it is put to the test
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def save_tiny(folder: Path, **options) -> DualEncoder:
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer)
    save_dual_encoder(model, tokenizer, folder, **{"name": "tiny", "licence": "Apache-2.0", **options})
    return model


def write_clip_tokenizer(path: Path) -> tuple[int, int]:
    """A byte-pair tokenizer in CLIP's manner; returns its size and its end token, the highest id."""
    words = tokenizers.Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    words.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(CAPTIONS, trainers.BpeTrainer(vocab_size=100, end_of_word_suffix="</w>"))
    words.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    start, end = words.token_to_id("<|startoftext|>"), words.token_to_id("<|endoftext|>")
    words.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", start), ("<|endoftext|>", end)]
    )
    words.save(str(path))
    return words.get_vocab_size(), end


def spread_weights(model: torch.nn.Module) -> None:
    """Weights large enough that a wrong activation or a lost bias shows."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)


def write_json(path: Path, tree: object) -> None:
    path.write_text(json.dumps(tree), encoding="utf-8")
