"""`passerby evaluate`: what a model finds in a data set, with the protocol beside every figure.

The table goes to standard output, progress to standard error, so that `--json` can be piped. Chance is always shown
beside the model: a figure says little without what knowing nothing reaches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from passerby.evaluation.features import Progress


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
    from passerby.evaluation import encode_split, evaluate_chance, evaluate_features, find_protocol
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
    with _progress() as progress:
        features = encode_split(retriever, part, with_captions=rules.query == "text", progress=progress)
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
        return

    from rich.console import Console

    from passerby.evaluation import rich_table

    console = Console()
    console.print(rich_table(list(reports.values()), title=f"{dataset.name}, split {split}, in per cent"))
    for note in (*reports["model"].notes(), "in brackets: 95 % intervals, bootstrap by identity"):
        console.print(f"  {note}", style="dim", highlight=False, markup=False)
    for name, path in written.items():
        console.print(f"  {name} queries: {path}", highlight=False, markup=False)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, a line for each finished kind in a pipe; always on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:

        def say(kind: str, done: int, total: int) -> None:
            if done == total:
                typer.echo(f"encoded {total:,} {kind}", err=True)

        yield say
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        bar_of = {kind: bars.add_task(kind, total=None, visible=False) for kind in ("images", "captions")}
        yield lambda kind, done, total: bars.update(bar_of[kind], completed=done, total=total, visible=True)
