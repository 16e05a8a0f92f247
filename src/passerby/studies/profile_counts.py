"""What a tower costs before any clock runs: parameters and multiply-adds, counted and not estimated.

A picture's cost is paid once for each picture of a gallery, a sentence's once for each query, so the two are never
added. A multiply-add is one multiplication with its addition; a FLOP is half of one in some papers, a whole in others.

Axes: B pictures or sentences, L token ids.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from passerby.models.dual_encoder import DualEncoder

#: What counts and what does not, for the head of every table.
COUNTER = (
    "torch.utils.flop_counter, FLOPs / 2: convolutions and matrix products, those of attention included; "
    "no norms, activations or look-ups"
)


def parameters(module: nn.Module) -> int:
    """How many learned numbers a module has; running statistics are not learned."""
    return sum(tensor.numel() for tensor in module.parameters())


def embedding_parameters(module: nn.Module) -> int:
    """How many of them are looked up and not multiplied: tables of words and of positions."""
    tables = {id(part.weight): part.weight.numel() for part in module.modules() if isinstance(part, nn.Embedding)}
    tables |= {id(one): one.numel() for name, one in module.named_parameters() if name.split(".")[-1] == "positions"}
    return sum(tables.values())


def multiply_adds(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of one call in evaluation mode.

    Args:
        module: any module.
        *inputs: what it is called with; for the cost of one picture or sentence, a batch of one.
    """
    was_training = module.training
    module.eval()
    try:
        # The fused attention kernels are opaque to the counter; the plain one is matrix products.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            module(*inputs)
    finally:
        module.train(was_training)
    return counter.get_total_flops() // 2


def count(model: DualEncoder, tokens: int, context_length: int) -> dict[str, int]:
    """Parameters and multiply-adds of both towers with their projections, at their real inputs.

    Args:
        model: on the CPU.
        tokens: L of a typical query.
        context_length: L of the longest sentence.
    """
    device = next(model.parameters()).device
    pixels = torch.zeros(1, 3, *model.preprocessing.image_size, device=device)
    fused = model.image_tower.fused()
    text = nn.Sequential(model.text_tower, model.text_projection)
    image = nn.Sequential(fused, model.image_projection)
    embeddings = embedding_parameters(model.text_tower)
    longest = _sentence(context_length, device)
    return {
        "image_parameters": parameters(image),
        "image_parameters_in_training": parameters(model.image_tower) + parameters(model.image_projection),
        "text_parameters": parameters(text),
        "text_parameters_without_embeddings": parameters(text) - embeddings,
        "image_multiply_adds": multiply_adds(image, pixels),
        "text_multiply_adds": multiply_adds(text, _sentence(tokens, device)),
        "text_multiply_adds_padded": multiply_adds(text, longest),
    }


def _sentence(length: int, device: torch.device) -> Tensor:
    """Token ids (1, L) without padding."""
    return torch.ones(1, length, dtype=torch.int64, device=device)
