"""The model card that lies in every checkpoint folder as ``README.md``: what it is, how to use it, what it reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from passerby.models.kinds import KINDS, Kind
from passerby.models.licences import weights_licence

#: Licences that the Hugging Face hub knows by a name of its own.
_HUB_LICENCES = frozenset({"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc0-1.0"})
#: Shares among the figures, as tables call them; they are per cent.
_SHARES = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "map": "mAP", "minp": "mINP"}

_LIMITS = (
    "A hit is a picture that looks like the words or the picture asked with: it identifies nobody and proves nothing, "
    "and a person must decide. How the model does on people of different skin tone, age, build or dress has not been "
    "measured. passerby's page on responsible use (docs/responsible-use.md) says more."
)


def model_card(config: Mapping[str, Any], parameters: int) -> str:
    """Write the card of a checkpoint as Markdown.

    Args:
        config: the content of ``config.json``.
        parameters: how many numbers the weights are.
    """
    kind = KINDS[config["kind"]]
    facts = _facts(config, kind, parameters)
    parts = [
        f"---\ntags: [passerby, person-retrieval]\n{_licence_lines(config['licence'])}\n---",
        f"# {config['name']}",
        config["about"] or kind.about,
        *_use(kind),
        "## What it is",
        _table(("", ""), facts),
    ]
    if config["metrics"]:
        parts += [
            "## What it reached",
            _table(("figure", "value"), [_figure(name, value) for name, value in config["metrics"].items()]),
        ]
    return "\n\n".join([*parts, "## Before it searches for people", _LIMITS]) + "\n"


def _facts(config: Mapping[str, Any], kind: Kind, parameters: int) -> list[tuple[str, str]]:
    model, preprocessing = config["model"], config["preprocessing"]
    facts = [(f"{key} tower", _tower(model[key])) for key in ("image", "text") if key in model]
    facts.append(("embedding", f"{model['embedding_dim']} numbers, unit length; a dot product is the score"))
    if kind.pictures:
        height, width = preprocessing["image_size"]
        facts.append(("pictures", f"{height} x {width} (height x width), {preprocessing['interpolation']}"))
    if kind.sentences:
        facts.append(("sentences", f"up to {config['text']['context_length']} tokens"))
    return [
        *facts,
        ("parameters", f"{parameters / 1e6:.2f} million"),
        ("trained on", config["trained_on"]),
        ("licence of the weights", config["licence"]),
        *_origins(model),
        ("fingerprint", f"`{config['fingerprint'][:16]}`"),
        ("written by", f"passerby {config['passerby_version']}"),
    ]


def _licence_lines(licence: str) -> str:
    """What the hub reads: a licence by its identifier, or another one by its name."""
    known = licence.lower() in _HUB_LICENCES
    return f"license: {licence.lower()}" if known else f"license: other\nlicense_name: {_quoted(licence)}"


def _figure(name: str, value: float) -> tuple[str, str]:
    """What a table calls a figure such as ``val_r1``, and its value with the unit; other names stay as they are."""
    split, _, key = name.rpartition("_")
    if key not in _SHARES:
        return name, f"{value:g}"
    return _SHARES[key] + (f" on the split `{split}`" if split else ""), f"{value:.4g} %"


def _origins(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Terms of the pretrained weights that the towers may have begun from."""
    towers = {key: model[key] for key in ("image", "text") if key in model}
    terms = {key: weights_licence(tower["name"], tower.get("options")) for key, tower in towers.items()}
    return [(f"pretrained {key} tower", f"weights: {found}") for key, found in terms.items() if found]


def _use(kind: Kind) -> list[str]:
    if not kind.pictures:
        return []
    asked = 'texts(["a woman in a red coat with a black backpack"])' if kind.sentences else 'images(["crop.jpg"])'
    load = 'import passerby\n\nmodel = passerby.load("FOLDER")  # or "hf:org/name"'
    return ["## Use", f"```python\n{load}\nvectors = model.encode_{asked}\n```"]


def _tower(section: Mapping[str, Any]) -> str:
    options = section.get("options") or {}
    shown = [f"{key}={value}" for key, value in options.items() if isinstance(value, (int, float, str, list, tuple))]
    return f"`{section['name']}`" + (f" ({', '.join(shown)})" if shown else "")


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    # A bar or a line break in a value would end its cell.
    lines += [f"| {key} | {str(value).replace('|', chr(92) + '|').replace(chr(10), ' ')} |" for key, value in rows]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
