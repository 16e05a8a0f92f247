"""`passerby study selection`: ITSELF against what it is built on and its rivals, as tables, figures and a page."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.cli.terminal import counting
from passerby.errors import MissingExtraError

if TYPE_CHECKING:
    from passerby.studies.selection import SelectionStudy

#: What the study needs beyond the base install, and the extra that brings it.
_NEEDED = {"torch": "train", "accelerate": "train", "jinja2": "viz", "matplotlib": "viz"}


def selection(
    out: Annotated[Path, typer.Option("--out", help="Folder of the results; a study that was stopped goes on in it.")],
    data: Annotated[str, typer.Option("--data", help="NAME:ROOT of a set; street and tiny draw their own.")] = "",
    preset: Annotated[
        str, typer.Option(help="published (CLIP, needs a GPU), street (an hour or two on two cores) or tiny (a look).")
    ] = "published",
    seeds: Annotated[int | None, typer.Option(help="How often everything is repeated; the preset's number.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare ITSELF, its schedules, selectors and backbones, and other methods; see where they look."""
    from passerby.cli.threads import settle_threads

    for package, extra in _NEEDED.items():  # said before anything is trained
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, "the study of selection")
    settle_threads()  # before torch is imported
    from passerby.studies.selection import run_selection

    with counting("studying", "cells") as count:
        result = run_selection(out, data, preset, seeds, count)
    typer.echo(json.dumps(dict(result.report)) if as_json else _in_words(result))


def _in_words(result: SelectionStudy) -> str:
    report = result.report
    lines = [f"{report['data']}, {report['seeds']} seeds, in per cent"]
    for table in report["tables"]:
        lines += ["", f"{table['title']:32}{'R@1':>7}{'R@5':>7}{'R@10':>7}{'mAP':>7}  interval of R@1"]
        for row in table["rows"]:
            found = row["figures"]
            low, high = found["r1"]["interval"]
            bounds = "" if low is None else f"  {low:.1f} to {high:.1f}"
            values = "".join(f"{found[key]['mean']:7.1f}" for key in ("r1", "r5", "r10", "map"))
            lines.append(f"  {row['label']:30}{values}{bounds}")
    lines += ["", *(_claimed(row) for row in report["claims"]), f"page: {result.page}"]
    return "\n".join(lines)


def _claimed(row: dict[str, object]) -> str:
    difference = row["r1"]
    mean = difference["mean"] if isinstance(difference, dict) else float("nan")
    return f"{row['above']} above {row['below']}: {mean:+.1f} points of R@1, {row['verdict']}"
