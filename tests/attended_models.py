"""Small dual encoders with attention mechanisms and re-rankers, which several tests build on."""

import torch

from passerby.models.dual_encoder import DualEncoder, build_dual_encoder
from tiny_models import spread_weights, tiny_tokenizer

SMALL = {"width": 16, "heads": 2}


def attended_model(attention="none", reranker=None, text="conv", image=None, projection="linear") -> DualEncoder:
    """In evaluation mode, with weights large enough that a wrong one shows and a last layer of zeros is none."""
    tokenizer = tiny_tokenizer()
    if isinstance(attention, str) and attention != "none":
        both = {"name": attention, "options": SMALL}
        attention = {"image": both, "text": both}
    text_options = {
        "conv": {"channels": 24},
        "transformer": {"channels": 24, "layers": 1, "heads": 2},
        "distilbert": {"channels": 24, "layers": 1, "heads": 2, "mlp_width": 32},
    }[text]
    torch.manual_seed(0)
    model = build_dual_encoder(
        {
            "image": image or {"name": "stripe_conv", "options": {"channels": 8}},
            "text": {"name": text, "options": text_options},
            "embedding_dim": 32,
            "attention": attention,
            "reranker": reranker,
            "projection": projection,
        },
        image_size=(64, 32),
        vocabulary_size=tokenizer.vocabulary_size,
        context_length=tokenizer.context_length,
    )
    spread_weights(model)
    with torch.no_grad():
        model.log_scale.fill_(1.0)
    return model.eval()
