"""`passerby explain`: which places of a picture and which words of a sentence decided their score.

The words and their weights go to standard output, as a table or as JSON with all maps; the picture of it to a file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.cli.terminal import printable

if TYPE_CHECKING:
    from passerby.models.explained import Explanation

_LARGEST = (768, 384)  # pixels that the picture is decoded to at least, where it has as many


def explain(
    model: Annotated[str, typer.Argument(help="A checkpoint folder, hf:org/name@rev or a shipped model's name.")],
    image: Annotated[Path, typer.Argument(help="The picture.")],
    text: Annotated[str, typer.Argument(help="The sentence: 'a woman in a red coat'.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to draw it (PNG); IMAGE's name with -explained.png, here, by default.")
    ] = None,
    words: Annotated[int, typer.Option(min=0, max=30, help="Panels of single words, the weightiest first.")] = 6,
    as_json: Annotated[bool, typer.Option("--json", help="Print the explanation with all its maps as JSON.")] = False,
) -> None:
    """Show which places and which words decided a score."""
    from passerby.data.images import decode_image
    from passerby.data.sheets import save_sheet
    from passerby.evaluation.explanation_sheet import explanation_sheet
    from passerby.retriever import load

    target = out or Path(f"{image.stem}-explained.png")
    explanation = load(model).explain(image, text)
    save_sheet(explanation_sheet(explanation, decode_image(image, at_least=_LARGEST), words), target)
    if as_json:
        typer.echo(json.dumps({"image": str(image), "sheet": str(target), **explanation.as_dict()}))
    elif sys.stdout.isatty():
        _print_table(explanation, target)
    else:
        for word, weight in zip(explanation.words, explanation.weights, strict=True):
            typer.echo(f"{printable(word.text)}\t{weight:+.4f}")
        typer.echo(f"passerby: score {explanation.score:.4f}; drawn to {target}", err=True)


def _print_table(explanation: Explanation, target: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("word", overflow="fold")
    table.add_column("the score loses without it", justify="right")
    for word, weight in zip(explanation.words, explanation.weights, strict=True):
        table.add_row(Text(printable(word.text)), f"{weight:+.4f}")
    console = Console()
    console.print(table)
    console.print(f"score {explanation.score:.4f}; drawn to {target}", style="dim", highlight=False, markup=False)
