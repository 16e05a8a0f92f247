"""Stage 2: a context encoder trained on cached features of a frozen encoder, a set of pictures a step.

The vectors are computed once, so a step costs no picture: a set of similar ones is drawn, put into context, and held
to its identities by cross-entropy, the hardest triplets and centers (MagFormer, sections 4.3 and 4.4).

Axes: V views of each picture, N pictures, D width, B tokens of a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from passerby.data.neighbour_sets import nearest_to_centre
from passerby.errors import ConfigError, DataError
from passerby.losses.center import CenterLoss
from passerby.losses.triplet import triplet_loss
from passerby.models.context import ContextEncoder
from passerby.models.context_config import ContextConfig
from passerby.nn.neighbour_search import check_finite
from passerby.training.schedule import schedule

#: Called after each step: steps done, steps in all, losses by name.
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class ContextTraining:
    """How a context encoder is trained. Defaults are the release's where the report says otherwise (20 epochs).

    Attributes:
        epochs: each of ``N / 30`` steps, at least one.
        set_size: pictures of a set; clamped to N. The release uses 7,000, the report 2,048.
        sets: sets of a step; they share the losses and no edges.
        rate: of AdamW.
        betas: of AdamW.
        weight_decay: of matrices; magnitudes, lambda, gains and biases have none.
        schedule: "constant" or "cosine".
        warmup: steps of the linear rise.
        label_smoothing: of the cross-entropy, in [0, 1).
        triplet_weight: of the triplet loss.
        margin: of the triplet loss.
        squared: whether triplets compare squared distances, as the report writes.
        center_weight: of the center loss.
        center_form: "mean" or "half_sum".
        center_rate: of the centers' own SGD.
        seed: decides weights, sets, views, landmarks and dropout.
    """

    epochs: int = 20
    set_size: int = 2048
    sets: int = 1
    rate: float = 1.5e-4
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    schedule: str = "constant"
    warmup: int = 0
    label_smoothing: float = 0.1
    triplet_weight: float = 1.0
    margin: float = 0.3
    squared: bool = False
    center_weight: float = 0.0005
    center_form: str = "mean"
    center_rate: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "set_size", "sets"):
            if getattr(self, name) < 1:
                raise ConfigError(f"context training: {name} is {getattr(self, name)}; expected 1 or more")
        if not self.rate > 0 or not 0 <= self.label_smoothing < 1:
            raise ConfigError(
                f"context training: rate {self.rate} and label_smoothing {self.label_smoothing}; expected a rate above "
                "0 and a smoothing from 0 to below 1"
            )


@dataclass(frozen=True, slots=True)
class ContextRun:
    """A trained context encoder and what its training did.

    Attributes:
        model: in evaluation mode.
        history: the losses of each step: "loss", "cross_entropy", "triplet", "center".
        seconds: wall seconds of the training.
        set_size: what the set size was clamped to.
    """

    model: ContextEncoder
    history: list[dict[str, float]] = field(repr=False)
    seconds: float
    set_size: int


def train_context(
    settings: ContextConfig,
    features: np.ndarray,
    identities: np.ndarray,
    training: ContextTraining | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> ContextRun:
    """Train a context encoder on features that lie in memory.

    Args:
        settings: of the encoder; its classes must be as many as there are identities.
        features: of each picture, one view or several; a set takes a random view of each of its pictures and is drawn
            by the first.
        identities: who each picture shows, any whole numbers.
        training: the defaults of `ContextTraining` unless given.
        device: where to train.
        progress: called after each step.

    Shape:
        features (N, D) or (V, N, D), identities (N,).

    Raises:
        ConfigError: the classes disagree with the identities, a width differs, or the loss stopped being finite.
        DataError: a vector is not finite, there are fewer than two, or each picture has not exactly one identity.
    """
    training = training or ContextTraining()
    views = np.asarray(features)[None] if np.ndim(features) == 2 else np.asarray(features)
    labels = _labels(views, np.asarray(identities), settings)
    size = min(training.set_size, views.shape[1])
    steps = training.epochs * max(1, views.shape[1] // 30)
    started, history = time.perf_counter(), []
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(training.seed)
        stage = _Stage(ContextEncoder(settings).to(device).train(), training, steps)
        batches = _batches(views, labels, training, steps, torch.device(device))
        for done, (sets, owners) in enumerate(batches, start=1):
            history.append(stage.step(sets, owners))
            if progress is not None:
                progress(done, steps, history[-1])
    return ContextRun(stage.model.eval(), history, time.perf_counter() - started, size)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices with weight decay; magnitudes, lambda's vectors, gains and biases without."""
    decayed, free = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim >= 2 and "magnitude" not in name
            (decayed if matrix else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


class _Stage:
    """The encoder, the centers and their two optimisers."""

    def __init__(self, model: ContextEncoder, training: ContextTraining, steps: int) -> None:
        self.model, self.training = model, training
        settings, device = model.settings, model.classifier.weight.device
        self.centers = CenterLoss(settings.classes, settings.width, training.center_form).to(device)
        groups = parameter_groups(model, training.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, training.rate, betas=training.betas)
        self.center_optimiser = torch.optim.SGD(self.centers.parameters(), training.center_rate)
        factor = schedule(training.schedule, steps, training.warmup)
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factor)
        self.generator = torch.Generator().manual_seed(training.seed)

    def step(self, sets: list[Tensor], labels: Tensor) -> dict[str, float]:
        model, training = self.model, self.training
        rows = torch.cat([model(one, landmarks=model.choose_landmarks(one, self.generator)) for one in sets])  # (B, D)
        logits = model.classify(model.embed(rows))
        parts = {
            "cross_entropy": nn.functional.cross_entropy(logits, labels, label_smoothing=training.label_smoothing),
            "triplet": triplet_loss(rows, labels, training.margin, training.squared),
            "center": self.centers(rows, labels),
        }
        weights = {"cross_entropy": 1.0, "triplet": training.triplet_weight, "center": training.center_weight}
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        if not torch.isfinite(loss):
            raise ConfigError("the loss of the context encoder is no longer finite; lower the rate or add a warm-up")
        self.optimiser.zero_grad()
        self.center_optimiser.zero_grad()
        loss.backward()
        self.centers.undo_weight(training.center_weight)
        self.optimiser.step()
        self.center_optimiser.step()
        self.rates.step()
        return {"loss": float(loss.detach()), **{name: float(part.detach()) for name, part in parts.items()}}


def _labels(views: np.ndarray, identities: np.ndarray, settings: ContextConfig) -> np.ndarray:
    if views.ndim != 3 or views.shape[1] < 2 or identities.shape != views.shape[1:2]:
        raise DataError(
            f"features of shape {views.shape[-3:]} with identities of shape {identities.shape}; expected (N, D) or "
            "(V, N, D) with one identity for each of at least two pictures"
        )
    for view in views:
        check_finite(torch.as_tensor(view))
    people, labels = np.unique(identities, return_inverse=True)
    if len(people) != settings.classes:
        raise ConfigError(
            f"the context encoder tells {settings.classes} identities apart, the features show {len(people)}; set "
            f"context.classes to {len(people)}"
        )
    return labels.astype(np.int64)


def _batches(
    views: np.ndarray, labels: np.ndarray, training: ContextTraining, steps: int, device: torch.device
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """The sets of each step and whom they show."""
    rng = np.random.default_rng(training.seed)
    unit = views[0] / np.maximum(np.linalg.norm(views[0], axis=1, keepdims=True), 1e-12)
    for _ in range(steps):
        chosen = [nearest_to_centre(unit, training.set_size, rng) for _ in range(training.sets)]
        sets = [views[rng.integers(len(views), size=len(rows)), rows] for rows in chosen]
        tensors = [torch.from_numpy(one.astype(np.float32)).to(device) for one in sets]
        yield tensors, torch.from_numpy(labels[np.concatenate(chosen)]).to(device)
