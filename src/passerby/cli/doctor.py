"""`passerby doctor`: what this machine has, what passerby would run on, and what is missing.

Everything is read without importing the heavy packages; torch is asked about GPUs only where it is installed.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False) -> None:
    """Show versions, devices, extras, caches and shipped models; measure the engines and remember the fastest."""
    _measure()
    found = examine()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _lines(found):
        table.add_row(key, value)
    Console().print(table, highlight=False, markup=False)


def examine() -> dict[str, Any]:
    """Everything that `passerby doctor` shows, as JSON values."""
    from passerby import __version__
    from passerby.models.runtimes.choice import cpu_features, cpu_name, usable_cores

    return {
        "passerby": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": {"name": cpu_name(), "cores": usable_cores(), "features": list(cpu_features())},
        "gpus": _gpus(),
        "runtime": _runtime(),
        "extras": _extras(),
        "caches": _caches(),
        "models": _models(),
        "licences": _licences(),
    }


def _measure() -> None:
    """Time the engines on a shipped model, which decides what `auto` takes where a model has no record of its own."""
    from passerby.errors import PasserbyError
    from passerby.models.checkpoint import read_checkpoint
    from passerby.models.runtimes.measured import GENERAL, measure, remember
    from passerby.models.sources import locate, shipped_models

    for name in shipped_models():
        try:
            checkpoint = read_checkpoint(locate(name).folder)
            if checkpoint.exported:
                remember(GENERAL, measure(checkpoint))
                return
        except PasserbyError:  # a damaged model is told further down, beside its name
            continue


def _gpus() -> list[str]:
    from passerby.models.runtimes.choice import installed

    if not installed("torch"):
        return []
    try:
        import torch
    except (ImportError, OSError) as error:  # a broken installation is what a doctor is asked about
        return [f"unknown: torch is installed but cannot be imported ({error})"]
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _runtime() -> dict[str, str]:
    """What "auto" chooses for a model with exported towers, and for one without."""
    from passerby.errors import PasserbyError
    from passerby.models.runtimes.choice import choose
    from passerby.models.runtimes.measured import GENERAL, remembered

    chosen: dict[str, str] = {}
    forms: dict[str, tuple[str, ...]] = {"exported": ("onnx",), "weights_only": ()}
    for key, readable in forms.items():
        try:
            choice = choose("auto", "auto", readable, True, "a model", remembered(GENERAL))
            chosen[key] = f"{choice.runtime} ({choice.why})"
        except PasserbyError as error:
            chosen[key] = f"none ({error})"
    return chosen


def _extras() -> dict[str, dict[str, str | None]]:
    """Extra -> package -> installed version or None, as the package's own metadata lists them."""
    extras: dict[str, dict[str, str | None]] = {}
    for requirement in metadata.requires("passerby") or ():
        specification, _, condition = requirement.partition(";")
        extra = condition.split("==")[1].strip(" \"'") if "extra ==" in condition else "base"
        name = specification.strip()
        for index, letter in enumerate(name):
            if not (letter.isalnum() or letter in "-_."):
                name = name[:index]
                break
        extras.setdefault(extra, {})[name] = _version(name)
    return extras


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _caches() -> dict[str, str]:
    import os

    from passerby.data.cache import cache_root

    hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub"
    return {"pictures": str(cache_root()), "hub": str(Path(hub).expanduser())}


def _models() -> dict[str, dict[str, Any]]:
    """The shipped models, each read and checked."""
    from passerby.errors import PasserbyError
    from passerby.models.checkpoint import read_checkpoint
    from passerby.models.sources import locate, shipped_models

    models: dict[str, dict[str, Any]] = {}
    for name in shipped_models():
        try:
            checkpoint = read_checkpoint(locate(name).folder)
        except PasserbyError as error:
            models[name] = {"problem": str(error)}
            continue
        size = sum(path.stat().st_size for path in checkpoint.folder.rglob("*") if path.is_file())
        config = checkpoint.config
        models[name] = {
            "licence": config.licence,
            "fingerprint": config.fingerprint,
            "exported": checkpoint.exported,
            "bytes": size,
        }
    return models


def _licences() -> dict[str, str]:
    """Terms of well-known pretrained weights, which are not the terms of this program."""
    from passerby.models.licences import WELL_KNOWN, weights_licence

    return {name: weights_licence(name) or "unknown" for name in (*WELL_KNOWN, "clip", "distilbert")}


def _lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    cpu = found["cpu"]
    lines = [
        ("passerby", f"{found['passerby']} on Python {found['python']} ({sys.executable})"),
        ("platform", found["platform"]),
        ("processor", f"{cpu['name']}, {cpu['cores']} usable cores; {' '.join(cpu['features']) or 'features unknown'}"),
        ("GPUs", ", ".join(found["gpus"]) or "none"),
        ("runtime", f"exported models: {found['runtime']['exported']}"),
        ("", f"others: {found['runtime']['weights_only']}"),
    ]
    for extra, packages in found["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        have = ", ".join(f"{name} {version}" for name, version in packages.items() if version is not None)
        hint = f"; missing: {', '.join(missing)} (pip install 'passerby[{extra}]')" if missing else ""
        lines.append((f"[{extra}]" if extra != "base" else "base", f"{have or 'nothing installed'}{hint}"))
    lines += [(f"{kind} cache", place) for kind, place in found["caches"].items()]
    for name, model in found["models"].items():
        text = model.get("problem") or (
            f"{model['bytes'] / 1e6:.1f} MB, {model['licence']}, fingerprint {model['fingerprint'][:12]}"
            f"{'' if model['exported'] else ', not exported'}"
        )
        lines.append((f"model {name}", text))
    terms: dict[str, list[str]] = {}
    for name, licence in found["licences"].items():
        terms.setdefault(licence, []).append(name)
    heading = "weights' licence"
    for licence, names in terms.items():
        lines.append((heading, f"{licence}: {', '.join(names)}"))
        heading = ""
    if not found["models"]:
        lines.append(("models", "none shipped; name a folder or hf:org/name"))
    return lines
