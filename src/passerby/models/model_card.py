"""The model card that lies in every checkpoint folder as ``README.md``: what it is, how to use it, what it reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(config: Mapping[str, Any], parameters: int) -> str:
    """Write the card of a checkpoint as Markdown.

    Args:
        config: the content of ``config.json``.
        parameters: how many numbers the weights are.
    """
    model, preprocessing = config["model"], config["preprocessing"]
    height, width = preprocessing["image_size"]
    about = config["about"] or "A dual encoder: pictures of people and sentences about them meet in one space."
    facts = [
        ("image tower", _tower(model["image"])),
        ("text tower", _tower(model["text"])),
        ("embedding", f"{model['embedding_dim']} numbers, unit length; a dot product is the score"),
        ("pictures", f"{height} x {width} (height x width), {preprocessing['interpolation']}"),
        ("sentences", f"up to {config['text']['context_length']} tokens"),
        ("parameters", f"{parameters / 1e6:.2f} million"),
        ("trained on", config["trained_on"]),
        ("licence of the weights", config["licence"]),
        ("fingerprint", f"`{config['fingerprint'][:16]}`"),
        ("written by", f"passerby {config['passerby_version']}"),
    ]
    parts = [
        f"---\ntags: [passerby, person-retrieval]\nlicense_name: {_quoted(config['licence'])}\n---",
        f"# {config['name']}",
        about,
        "## Use",
        '```python\nimport passerby\n\nmodel = passerby.load("FOLDER")  # or "hf:org/name"\n'
        'vectors = model.encode_texts(["a woman in a red coat with a black backpack"])\n```',
        "## What it is",
        _table(("", ""), facts),
    ]
    if config["metrics"]:
        parts += [
            "## What it reached",
            _table(("figure", "value"), [(k, f"{v:g}") for k, v in config["metrics"].items()]),
        ]
    return "\n\n".join(parts) + "\n"


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
