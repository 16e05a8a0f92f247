"""`passerby study profile`: what models cost, as a table, Markdown or JSON; each model in a process of its own."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Literal

import typer

_PIPE_WIDTH = 240


def profile(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Folders, hf:org/name, shipped names, or towers as IMAGE[@HxW][+TEXT]: fastvit_t8@256x128+clip.",
        ),
    ],
    runtime: Annotated[
        Literal["torch", "onnxruntime", "openvino"],
        typer.Option(help="Engine; all but torch need exported towers."),
    ] = "torch",
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where torch runs.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads of the engine.", min=1)] = 1,
    tokens: Annotated[int, typer.Option(help="Tokens of a query.", min=1)] = 24,
    repeats: Annotated[int, typer.Option(help="Timed calls of each point; 0 counts and times nothing.", min=0)] = 20,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the profiles as JSON.")] = False,
) -> None:
    """Measure parameters, multiply-adds, latency, memory and bytes of models."""
    from passerby.cli.terminal import counting
    from passerby.studies.profile import legend, markdown, profile_models, table

    with counting("profiling", "models") as progress:
        found = profile_models(
            models, runtime=runtime, device=device, threads=threads, tokens=tokens, repeats=repeats, progress=progress
        )
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if as_markdown:
        typer.echo(markdown(found))
        return
    from rich.console import Console
    from rich.table import Table

    head, rows = table(found)
    shown = Table(box=None, pad_edge=False)
    for number, name in enumerate(head):
        shown.add_column(name, justify="left" if number < 2 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    # A pipe has no width of its own, and eighty columns would cut every cell in pieces.
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
    console.print(shown, highlight=False, markup=False)
    console.print(legend(found), highlight=False, markup=False, soft_wrap=True)
