"""Where a model lies: a folder, ``hf:org/name@rev``, or the name of a model that passerby ships. Nothing is guessed.

A bare name is never looked up on the hub, and a hub name never falls back to something local, so that a typing error
or a dead line can never quietly become another model.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from passerby.errors import CheckpointError, ConfigError, MissingExtraError, nearest

#: The file by which a CLIP in open_clip's form is known.
OPEN_CLIP_CONFIG = "open_clip_config.json"
#: Where a training run keeps its best model.
RUN_CHECKPOINT = "checkpoint"

_HUB = "hf:"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ("*.json", "*.safetensors", "*.txt", "README.md", "onnx/*.onnx", "openvino/*.xml", "openvino/*.bin")


@dataclass(frozen=True, slots=True)
class Source:
    """A model on this disk, and the words that find it again."""

    folder: Path
    name: str


def shipped_models() -> list[str]:
    """Names of the checkpoints that lie inside the package, sorted."""
    root = resources.files("passerby") / "checkpoints"
    if not root.is_dir():
        return []
    return sorted(entry.name for entry in root.iterdir() if (entry / "config.json").is_file())


def is_clip_folder(folder: Path) -> bool:
    """Whether a folder holds a CLIP in open_clip's or transformers' form."""
    if (folder / OPEN_CLIP_CONFIG).is_file():
        return True
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "clip"


def locate(model: str | Path) -> Source:
    """Find the folder of a model, fetching it from the hub when it is named so.

    Args:
        model: an existing folder (a run's folder stands for the checkpoint in it), ``hf:org/name`` or
            ``hf:org/name@revision``, or a name of `shipped_models`.

    Raises:
        CheckpointError: no such folder or name, or the hub does not give the model; the message says which.
        ConfigError: a hub name is badly written.
        MissingExtraError: a hub name was given and the hub's client is not installed.
    """
    text = str(model)
    if text.startswith(_HUB):
        return Source(fetch(text.removeprefix(_HUB)), text)
    if isinstance(model, str) and text in shipped_models():
        return Source(Path(str(resources.files("passerby") / "checkpoints" / text)), text)
    path = Path(text).expanduser()
    if path.is_dir():
        inner = path / RUN_CHECKPOINT
        folder = inner if inner.is_dir() and not (path / "config.json").exists() else path
        return Source(folder, str(folder.resolve()))
    if path.is_file():
        raise CheckpointError(
            f"{text} is a file; a model is a folder with config.json and model.safetensors. Pickled weights (.pt, "
            ".pth, .bin) are never opened"
        )
    known = shipped_models()
    hint = f" Did you mean 'hf:{text}' on the hub?" if _REPOSITORY.fullmatch(text) else nearest(text, known)
    raise CheckpointError(
        f"no model {text!r}: there is no such folder, and passerby ships {', '.join(known) or 'no model'}.{hint} "
        "A model is a folder, hf:org/name@revision, or a shipped name"
    )


def source_folder(source: str) -> Path:
    """The folder of a tower's pretrained weights: a local folder, or ``org/name[@revision]`` on the hub.

    Raises:
        ConfigError: it is neither.
        CheckpointError: the hub does not give it.
    """
    path = Path(source).expanduser()
    return path if path.is_dir() else fetch(source.removeprefix(_HUB))


def fetch(reference: str) -> Path:
    """Fetch a repository of the hub into its own cache and return the folder.

    Args:
        reference: ``org/name`` or ``org/name@revision``.

    Raises:
        ConfigError: the reference is badly written.
        CheckpointError: there is no such repository or revision, or the hub does not answer.
        MissingExtraError: the hub's client is not installed.
    """
    repository, _, revision = reference.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigError(f"{reference!r} is neither a folder nor a hub name; expected org/name or org/name@rev")
    try:
        from huggingface_hub import errors as hub_errors
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "train", f"fetching {repository} from the hub") from error
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(_WANTED)))
    except hub_errors.LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"the hub could not be reached and {reference} is not in its cache on this machine; go online once, or "
            "give the folder of a local copy"
        ) from error
    except hub_errors.GatedRepoError as error:
        raise CheckpointError(f"{repository} is given only to those who accepted its terms on the hub") from error
    except (hub_errors.RepositoryNotFoundError, hub_errors.RevisionNotFoundError) as error:
        raise CheckpointError(f"the hub has no {reference}, or it is private; check the spelling") from error
    except Exception as error:  # the network's own errors have many types
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{reference} could not be fetched from the hub: {reason}") from error
