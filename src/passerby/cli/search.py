"""`passerby search`: a sentence or a picture in, ranked people out.

Results go to standard output as a table on a terminal, as tab-separated lines in a pipe, or as JSON; remarks about
the query go to standard error.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.cli.terminal import printable
from passerby.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from passerby.cli.served import Served
    from passerby.gallery import Gallery, Hit, Hits


def search(
    gallery: Annotated[str, typer.Argument(help="The gallery's folder, or http://HOST:6333/NAME.")],
    text: Annotated[
        list[str] | None,
        typer.Argument(help="Who is looked for: 'a woman in a red coat'; several sentences are about one person."),
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(help="A picture of the person, instead of the text or with it; repeatable.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Number of hits, 1 to 1000.")] = 10,
    text_weight: Annotated[float, typer.Option(help="Share of the text where a picture is given too, 0 to 1.")] = 0.5,
    where: Annotated[
        str | None, typer.Option(help='Which pictures may be found: \'camera == "c2" and time >= "2026-11-20"\'.')
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A hit that the answer should be like; repeatable.")
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A hit that the answer should not be like; repeatable.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="One hit for each value of a field, such as person or track.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Lowest score of a hit, -1 to 1.")] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", help="Order the best hits anew: k-reciprocal, cross or context:CHECKPOINT, with options."
        ),
    ] = None,
    keep_poor: Annotated[
        bool, typer.Option("--keep-poor", help="Answer also where not even the best picture is a match.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the hits as JSON.")] = False,
    grid: Annotated[Path | None, typer.Option(help="Also draw the hits into this picture file (PNG).")] = None,
) -> None:
    """Find people in a gallery by a sentence, by a picture, or by both; a running service of the gallery is asked."""
    from passerby.cli.served import gallery_or_service

    if not text and not image and not like:
        raise typer.BadParameter("give a text, --image, --like or several of them", param_hint="TEXT")
    # What the model could not read of the query is part of the answer; once is enough.
    logging.getLogger("passerby.retriever").setLevel(logging.ERROR)
    with gallery_or_service(gallery, rerank) as people:
        hits = people.search(
            text,
            image,
            k,
            text_weight,
            like=like or (),
            unlike=unlike or (),
            where=where,
            min_score=min_score,
            group=group,
            reranker=rerank,
            keep_poor=keep_poor,
        )
        if grid is not None:
            _draw(people, hits, text or [], image or [], grid)
    for warning in hits.warnings:
        typer.echo(f"passerby: {warning}", err=True)
    if as_json:
        query = {"text": text or [], "image": [str(path) for path in image or []], "like": like or [], "k": k}
        query |= {"unlike": unlike or [], "where": where, "group": group, "min_score": min_score}
        query |= {} if rerank is None else {"rerank": rerank}
        seconds = {stage: round(spent, 4) for stage, spent in hits.seconds.items()}
        answer = {"gallery": gallery, "query": query, "seconds": seconds, "warnings": hits.warnings, "band": hits.band}
        typer.echo(json.dumps(answer | {"hits": [hit.to_dict() for hit in hits]}, indent=2))
    elif sys.stdout.isatty():
        _print_table(hits)
    else:
        for rank, hit in enumerate(hits, start=1):
            place = printable(str(hit.path))
            typer.echo(f"{rank}\t{hit.score:.4f}\t{place}\t{printable(hit.camera or '')}\t{hit.id}\t{hit.band}")


def _print_table(hits: Hits) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name, side in (("#", "right"), ("score", "right"), ("match", "left"), ("picture", "left"), ("camera", "left")):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for rank, hit in enumerate(hits, start=1):
        picture, camera = Text(printable(str(hit.path))), Text(printable(hit.camera or ""))
        table.add_row(str(rank), f"{hit.score:.3f}", hit.band, picture, camera)
    stages = ", ".join(f"{stage} {1000 * spent:.0f} ms" for stage, spent in hits.seconds.items())
    console = Console()
    console.print(table)
    console.print(stages, style="dim")


def _draw(people: Gallery | Served, hits: Hits, texts: list[str], images: list[Path], target: Path) -> None:
    from passerby.data.images import decode_image
    from passerby.data.sheets import result_grid, save_sheet

    pictures = [
        (_picture_of(people, hit), f"{rank}  {hit.score:.3f}  {hit.camera or ''}")
        for rank, hit in enumerate(hits, start=1)
    ]
    query = decode_image(images[0], at_least=(256, 128)) if images else None
    title = " · ".join(texts) or (f"like {images[0]}" if images else "more like these")
    save_sheet(result_grid(title, pictures, query_picture=query), target)


def _picture_of(people: Gallery | Served, hit: Hit) -> np.ndarray:
    """The picture itself, or its thumbnail where the file has gone or changed into something unreadable."""
    from passerby.data.images import decode_image

    try:
        return decode_image(hit.path, at_least=(256, 128))
    except DataError:
        return decode_image(people.thumbnail(hit.id), name=f"the thumbnail of {hit.id}")
