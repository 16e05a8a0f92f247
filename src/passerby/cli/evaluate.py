"""`passerby evaluate`: what a model finds in a data set, with the protocol beside every figure.

The table goes to standard output, progress to standard error, so that `--json` can be piped. Chance is always shown
beside the model: a figure says little without what knowing nothing reaches.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from passerby.cli.terminal import counting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from passerby.data.records import Split
    from passerby.evaluation import Encoder, Features, Report


def evaluate(
    model: Annotated[str, typer.Argument(help="A checkpoint folder, hf:org/name@rev or a shipped model's name.")],
    data: Annotated[str, typer.Option("--data", help="NAME:ROOT of a data set, for example rstpreid:street/.")],
    split: Annotated[str, typer.Option(help="The split to report.")] = "test",
    protocol: Annotated[str, typer.Option(help="text-to-image or image-to-image.")] = "text-to-image",
    same_camera: Annotated[
        Literal["counted", "junk"], typer.Option(help="What pictures of the person by the query's own camera are.")
    ] = "counted",
    selected_on: Annotated[
        str | None, typer.Option(help="The split that the model was chosen on, stamped into the report.")
    ] = None,
    allow_test_selection: Annotated[
        bool, typer.Option("--allow-test-selection", help="Admit that it was chosen on the split reported.")
    ] = False,
    colour_baseline: Annotated[
        bool, typer.Option("--colour-baseline", help="Also report what colours alone find.")
    ] = False,
    sheets: Annotated[
        Path | None, typer.Option(help="Folder for ranked-list pictures of good, median and bad queries.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")] = False,
) -> None:
    """Evaluate a model on a split of a data set: R@K, mAP and mINP, with intervals and protocol."""
    from passerby.data.readers import open_dataset
    from passerby.evaluation import evaluate_chance, evaluate_features, find_protocol
    from passerby.retriever import load

    rules = find_protocol(
        protocol,
        report_split=split,
        selection_split=selected_on,
        same_camera=same_camera,
        allow_test_selection=allow_test_selection,
    )
    dataset = open_dataset(data)
    part = dataset.split(split)
    # Chance needs no model, and refuses a split with nothing to find before minutes are spent on encoding it.
    chance = evaluate_chance(part, rules, dataset=dataset.name)
    retriever = load(model)
    features = _encode(retriever, part, texts=rules.query == "text")
    reports = {
        "model": evaluate_features(
            features,
            part,
            rules,
            name=retriever.name,
            dataset=dataset.name,
            fingerprint=retriever.fingerprint,
            seed=seed,
        )
    }
    if colour_baseline:
        from passerby.evaluation.colour_baseline import evaluate_colour_baseline

        reports["colour_baseline"] = evaluate_colour_baseline(part, rules, dataset=dataset.name, seed=seed)
    reports["chance"] = chance
    written: dict[str, Path] = {}
    if sheets is not None:
        from passerby.evaluation.ranked_sheets import write_ranked_sheets

        written = write_ranked_sheets(features, part, rules, sheets)
    if as_json:
        plain = {key: report.as_dict() for key, report in reports.items()}
        typer.echo(json.dumps({**plain, "sheets": {name: str(path) for name, path in written.items()}}, indent=2))
    else:
        _show(reports, written, f"{dataset.name}, split {split}, in per cent")


def _encode(model: Encoder, part: Split, *, texts: bool) -> Features:
    """Encode pictures, and captions where they ask, under one bar."""
    from passerby.evaluation import encode_split

    first_of = {"images": 0, "captions": len(part.images)}
    total = len(part.images) + (len(part.captions) if texts else 0)
    with counting("encoding", "items") as count:
        return encode_split(
            model,
            part,
            with_captions=texts,
            progress=lambda kind, done, _: count(first_of[kind] + done, total, kind),
        )


def _show(reports: Mapping[str, Report], written: Mapping[str, Path], title: str) -> None:
    """The table, what has to be known about it, and where the sheets are."""
    from rich.console import Console

    from passerby.evaluation import rich_table

    console = Console()
    console.print(rich_table(list(reports.values()), title=title))
    for note in (*reports["model"].notes(), "in brackets: 95 % intervals, bootstrap by identity"):
        console.print(f"  {note}", style="dim", highlight=False, markup=False)
    for name, path in written.items():
        console.print(f"  {name} queries: {path}", highlight=False, markup=False)
