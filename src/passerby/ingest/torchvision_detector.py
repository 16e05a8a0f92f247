"""torchvision's detection networks, of which only the people are kept.

Weights come by name, downloaded once by torchvision, or from a local file; a file is read without running anything in
it and has to fit the network exactly.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Self

import numpy as np

from passerby.errors import CheckpointError, ConfigError, MissingExtraError, nearest
from passerby.ingest.detection import Detections

#: The network used when none is named: the fastest of torchvision's whose boxes are good enough to cut people out.
DEFAULT_MODEL = "fasterrcnn_mobilenet_v3_large_320_fpn"
#: Classes of COCO with the gaps of its numbering, and the one that is a person.
_CLASSES, _PERSON = 91, 1
_THRESHOLD = 0.5


class TorchvisionDetector:
    """A network of torchvision with its weights."""

    def __init__(self, name: str, network: Any) -> None:
        """Take a network in evaluation mode; `open` makes one.

        Args:
            name: what the detector is called.
            network: a module that takes a list of (3, H, W) float pictures in 0 to 1.
        """
        import torch

        self.name = name
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = network.eval().to(self._device)

    @classmethod
    def open(cls, model: str | None, weights: str | None) -> Self:
        """Build a network and load its weights.

        Args:
            model: a name of torchvision's detection models; None for `DEFAULT_MODEL`.
            weights: a name such as "COCO_V1", a file, or None for torchvision's best.

        Raises:
            ConfigError: there is no such model or no weights of that name.
            CheckpointError: the weights cannot be read or downloaded, or do not fit.
            MissingExtraError: torchvision is not installed.
        """
        try:
            import torchvision
        except ImportError as error:
            raise MissingExtraError("torchvision", "train", "the detector torchvision") from error
        known = torchvision.models.list_models(torchvision.models.detection)
        model = model or DEFAULT_MODEL
        if model not in known:
            raise ConfigError(
                f"torchvision has no detection model {model!r}; known: {', '.join(known)}.{nearest(model, known)}"
            )
        if weights is not None and _looks_like_a_file(weights):
            return cls(f"torchvision:{model}:{_digest(Path(weights))}", _from_file(model, Path(weights)))
        chosen = _named(model, weights)
        return cls(f"torchvision:{model}:{chosen.name}", _downloaded(model, chosen))

    def detect(self, frame: np.ndarray, /) -> Detections:
        """The people of one (H, W, 3) uint8 RGB frame that the network is at least half sure of."""
        import torch

        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)  # (3, H, W)
        with torch.inference_mode():
            found = self._network([picture.to(self._device, torch.float32) / 255])[0]
        kept = (found["labels"] == _PERSON) & (found["scores"] >= _THRESHOLD)
        return Detections(found["boxes"][kept].cpu().numpy(), found["scores"][kept].cpu().numpy())


def _looks_like_a_file(weights: str) -> bool:
    return Path(weights).suffix.lower() in (".pth", ".pt", ".bin", ".safetensors") or Path(weights).exists()


def _named(model: str, weights: str | None) -> Any:
    import torchvision

    choices = torchvision.models.get_model_weights(model)
    if weights is None:
        return choices["DEFAULT"]
    if weights not in choices.__members__:
        names = ", ".join(choices.__members__)
        raise ConfigError(
            f"{model} has no weights {weights!r} and there is no such file; known: {names}."
            f"{nearest(weights, choices.__members__)}"
        )
    return choices[weights]


def _downloaded(model: str, weights: Any) -> Any:
    import torchvision

    try:
        return torchvision.models.get_model(model, weights=weights, weights_backbone=None)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong digest is a RuntimeError
        raise CheckpointError(
            f"the weights {weights.name} of {model} could not be downloaded ({error}); get {weights.url} on a machine "
            "with a network and name the file with --detector-weights, or choose the detector hog"
        ) from error


def _from_file(model: str, path: Path) -> Any:
    import torchvision

    state = _state_of(path)
    network = torchvision.models.get_model(model, weights=None, weights_backbone=None, num_classes=_CLASSES)
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    foreign = [name for name in state if name not in wanted]
    shapes = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    if shapes:
        name = shapes[0]
        raise CheckpointError(
            f"{path} does not fit {model}: {name} has shape {tuple(state[name].shape)}, expected "
            f"{tuple(wanted[name].shape)}; weights must be of this model with COCO's {_CLASSES} classes"
        )
    if missing or foreign:
        raise CheckpointError(
            f"{path} does not fit {model}: {len(missing)} of its tensors are missing and {len(foreign)} are foreign "
            f"({', '.join((missing + foreign)[:2])}); name the model with --detector torchvision:MODEL"
        )
    network.load_state_dict(state, strict=False)  # files of old torchvision lack counters that nothing reads
    return network


def _state_of(path: Path) -> dict[str, Any]:
    import torch

    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpicklers raise anything on bytes that are no weights
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"the weights {path} cannot be read: {reason}; expected a .safetensors file or a state dict saved by torch"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state dict, which maps names to tensors; save model.state_dict()")
    return state


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise CheckpointError(f"the weights {path} cannot be read: {error.strerror}; check the path") from error
