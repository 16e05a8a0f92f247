"""`passerby study context`: what it adds to let pictures look at their neighbours, as tables, figures and a page."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passerby.cli.terminal import counting
from passerby.errors import MissingExtraError

if TYPE_CHECKING:
    from passerby.studies.context import ContextStudy

#: What the study needs beyond the base install, and the extra that brings it.
_NEEDED = {"torch": "train", "accelerate": "train", "jinja2": "viz", "matplotlib": "viz", "sklearn": "viz"}


def context(
    out: Annotated[Path, typer.Option("--out", help="Folder of the results; a study that was stopped goes on in it.")],
    data: Annotated[
        str, typer.Option("--data", help="NAME:ROOT of a set with queries; the street's presets draw their own.")
    ] = "",
    preset: Annotated[
        str, typer.Option(help="published, street (minutes on two cores) or tiny (a look).")
    ] = "published",
    seeds: Annotated[int | None, typer.Option(help="How often everything is repeated; the preset's number.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare stage 1, NFormer, MagFormer and re-ranking under their protocols."""
    from passerby.cli.threads import settle_threads

    for package, extra in _NEEDED.items():  # said before anything is trained
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, "the study of context")
    settle_threads()  # before torch is imported
    from passerby.studies.context import run_context

    with counting("studying", "cells") as count:
        result = run_context(out, data, preset, seeds, count)
    typer.echo(json.dumps(dict(result.report)) if as_json else _in_words(result))


def _in_words(result: ContextStudy) -> str:
    report: dict[str, Any] = dict(result.report)
    lines = [f"{report['data']}, {report['plan']['seeds']} seeds: {report['rules']}"]
    lines.append(f"{'':16}{'protocol':>10}{'R@1':>8}{'mAP':>8}  interval of mAP")
    for row in report["table"]:
        low, high = row["map"]["interval"]
        bounds = "" if low is None else f"  {low:.1f} to {high:.1f}"
        lines.append(f"{row['model']:16}{row['protocol']:>10}{row['r1']['mean']:8.1f}{row['map']['mean']:8.1f}{bounds}")
    lines += [f"{letter}: {words}" for letter, words in report["protocols"].items()]
    return "\n".join([*lines, f"page: {result.page}"])
