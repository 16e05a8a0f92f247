"""Which number format a training run computes in, chosen from the machine at hand.

bfloat16 is a large gain where the processor multiplies it in hardware (AMX or AVX-512 BF16; any recent GPU) and a
large loss where it does not, so ``auto`` looks before it chooses.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from passerby.errors import ConfigError

Precision = Literal["no", "bf16", "fp16"]


def cpu_flags() -> frozenset[str]:
    """The instruction-set flags of the first processor, where the system lists them; otherwise empty."""
    listing = Path("/proc/cpuinfo")
    if not listing.is_file():
        return frozenset()
    for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Turn a recipe's precision into what Accelerate is told.

    Args:
        wanted: ``auto``, ``fp32``, ``bf16``, ``fp16``, or ``pure_fp16``, which computes as fp16 does
            (`passerby.training.half_weights` says what it does to the weights).
        device: where the training runs.

    Raises:
        ConfigError: fp16 was asked for on a processor, which cannot train in it.
    """
    if wanted == "fp32":
        return "no"
    if wanted == "bf16":
        return "bf16"
    if wanted in ("fp16", "pure_fp16"):
        if device.type == "cpu":
            raise ConfigError(
                f"optimisation.precision={wanted} needs a GPU and there is none; use auto, bf16 or fp32 on a processor"
            )
        return "fp16"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if {"amx_bf16", "avx512_bf16"} & cpu_flags() else "no"


def attention_kernel(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Which attention kernel a training step computes in.

    On a processor the fused kernel's backward pass takes about five times as long in bfloat16 as plain matrix
    products do; everywhere else the choice is left to PyTorch.

    Args:
        precision: what Accelerate was told.
        device: where the training runs.
    """
    if device.type == "cpu" and precision == "bf16":
        return sdpa_kernel(SDPBackend.MATH)
    return contextlib.nullcontext()
