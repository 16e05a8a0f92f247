"""`passerby study attention`: two image towers with four kinds of attention, trained, measured and drawn."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.errors import MissingExtraError

if TYPE_CHECKING:
    from passerby.studies.attention import StudyResult

#: What the study needs beyond the base install, and the extra that brings it.
_NEEDED = {"torch": "train", "accelerate": "train", "jinja2": "viz", "matplotlib": "viz"}


def attention(
    out: Annotated[Path, typer.Option("--out", help="Folder of the results; an unfinished study in it continues.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="NAME:ROOT of a data set; the presets street and tiny draw their own without."),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(help="published (ResNet-50, FastViT-T8), street (minutes on two cores) or tiny (a look)."),
    ] = "published",
    seeds: Annotated[int, typer.Option(help="Trainings of each cell.", min=1)] = 1,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change the towers' recipe, as in optimisation.epochs=1; reranker.KEY=VALUE the re-ranker's.",
        ),
    ] = None,
    asked: Annotated[
        list[str] | None, typer.Option("--query", metavar="TEXT", help="A sentence to draw a grid of pictures for.")
    ] = None,
    candidates: Annotated[
        list[int] | None, typer.Option("--candidates", metavar="K", help="Numbers of pictures to re-rank.", min=1)
    ] = None,
    kept: Annotated[int, typer.Option(help="The K whose figures stand in the table.", min=1)] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print the study as JSON.")] = False,
) -> None:
    """Compare no, self, sparse and cross attention on two image towers under one budget."""
    from passerby.cli.terminal import counting
    from passerby.cli.threads import settle_threads

    for package, extra in _NEEDED.items():  # said before anything is trained
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, "the attention study")
    settle_threads()  # before torch is imported; the cells' processes inherit it
    from passerby.studies.attention import run_attention_study
    from passerby.studies.attention_plan import CANDIDATES

    with counting("study", "cells") as show:
        result = run_attention_study(
            data,
            out,
            preset=preset,
            seeds=seeds,
            changes=changes or [],
            asked=asked or [],
            candidates=candidates or CANDIDATES,
            kept=kept,
            announce=show,
        )
    typer.echo(json.dumps(result.report) if as_json else _in_words(result))


def _in_words(result: StudyResult) -> str:
    report = result.report
    lines = [f"{report['dataset']}, {report['seeds']} seed(s); {report['protocol']}"]
    lines.append(f"{'':34}{'R@1':>7}{'R@5':>7}{'R@10':>7}{'mAP':>7}{'p50 ms':>9}{'train s':>9}")
    for row in report["rows"]:
        name = "cross, re-ranked" if row["mechanism"] == "cross" else row["mechanism"]
        numbers = "".join(f"{row['figures'][key][0]:7.1f}" for key in ("r1", "r5", "r10", "map"))
        lines.append(f"{row['backbone']:14}{name:20}{numbers}{row['latency']['p50_ms']:9.1f}{row['seconds']:9.1f}")
    lines += [f"a guard spoke: {diagnosis}" for diagnosis in report["diagnoses"]]
    return "\n".join([*lines, f"report: {result.page}"])
