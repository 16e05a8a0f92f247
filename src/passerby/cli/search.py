"""`passerby search`: a sentence or a picture in, ranked people out.

Results go to standard output as a table on a terminal, as tab-separated lines in a pipe, or as JSON; remarks about
the query go to standard error.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.cli.terminal import printable
from passerby.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from passerby.gallery import Hit, Hits


def search(
    gallery: Annotated[str, typer.Argument(help="The gallery's folder.")],
    text: Annotated[str | None, typer.Argument(help="Who is looked for: 'a woman in a red coat'.")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture of the person, instead of the text or with it.")] = None,
    k: Annotated[int, typer.Option("-k", help="Number of hits, 1 to 1000.")] = 10,
    text_weight: Annotated[float, typer.Option(help="Share of the text where a picture is given too, 0 to 1.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the hits as JSON.")] = False,
    grid: Annotated[Path | None, typer.Option(help="Also draw the hits into this picture file (PNG).")] = None,
) -> None:
    """Find people in a gallery by a sentence, by a picture, or by both."""
    from passerby.gallery import Gallery

    if text is None and image is None:
        raise typer.BadParameter("give a text, --image or both", param_hint="TEXT")
    # What the model could not read of the query is part of the answer; once is enough.
    logging.getLogger("passerby.retriever").setLevel(logging.ERROR)
    with Gallery.open(gallery) as people:
        started = time.monotonic()
        hits = people.search(text, image, k=k, text_weight=text_weight)
        seconds = time.monotonic() - started
    for warning in hits.warnings:
        typer.echo(f"passerby: {warning}", err=True)
    if grid is not None:
        _draw(hits, text, image, grid)
    if as_json:
        query = {"text": text, "image": None if image is None else str(image), "k": k}
        answer = {"gallery": gallery, "query": query, "seconds": round(seconds, 4), "warnings": hits.warnings}
        typer.echo(json.dumps(answer | {"hits": [hit.to_dict() for hit in hits]}, indent=2))
    elif sys.stdout.isatty():
        _print_table(hits)
    else:
        for rank, hit in enumerate(hits, start=1):
            typer.echo(f"{rank}\t{hit.score:.4f}\t{printable(str(hit.path))}\t{hit.camera or ''}\t{hit.id}")


def _print_table(hits: Hits) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name, side in (("#", "right"), ("score", "right"), ("picture", "left"), ("camera", "left")):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for rank, hit in enumerate(hits, start=1):
        table.add_row(str(rank), f"{hit.score:.3f}", Text(printable(str(hit.path))), Text(printable(hit.camera or "")))
    Console().print(table)


def _draw(hits: Hits, text: str | None, image: Path | None, target: Path) -> None:
    from passerby.data.images import decode_image
    from passerby.data.sheets import result_grid

    pictures = [
        (_picture_of(hit), f"{rank}  {hit.score:.3f}  {hit.camera or ''}") for rank, hit in enumerate(hits, start=1)
    ]
    query = None if image is None else decode_image(image, at_least=(256, 128))
    sheet = result_grid(text or f"like {image}", pictures, query_picture=query)
    try:
        sheet.save(target)
    except (OSError, ValueError) as error:
        raise DataError(f"{target} cannot be written: {error}; name a .png file in a folder that exists") from error


def _picture_of(hit: Hit) -> np.ndarray:
    """The picture itself, or its thumbnail where the file has gone or changed into something unreadable."""
    from passerby.data.images import decode_image

    try:
        return decode_image(hit.path, at_least=(256, 128))
    except DataError:
        return decode_image(hit.thumbnail)
