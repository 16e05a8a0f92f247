"""`passerby serve`: a gallery over HTTP, with a page to search it, for this machine or for whoever shows a token."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer


def serve(
    gallery: Annotated[str, typer.Argument(help="The gallery's folder, or http://HOST:6333/NAME.")],
    host: Annotated[
        str, typer.Option(help="Address to listen at; one that others can reach needs a token in PASSERBY_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = 8000,
    model: Annotated[str | None, typer.Option(help="The gallery's model, where it is not found by its name.")] = None,
    uploads: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Let clients add pictures, and keep their files here.")
    ] = None,
    allow_delete: Annotated[bool, typer.Option("--allow-delete", help="Let clients delete pictures.")] = False,
    workers: Annotated[int, typer.Option(help="Requests that are worked on at once.")] = 2,
    waiting: Annotated[int, typer.Option(help="Requests that may wait; one more is told to come back.")] = 8,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Longest wait, and longest work.")] = 20.0,
    audit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a line about each request: when, who, which route.")
    ] = None,
    audit_queries: Annotated[bool, typer.Option("--audit-queries", help="Write there too what was asked.")] = False,
    rerank: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE", help="Offer a second stage: cross, context:CHECKPOINT, with options; repeatable."
        ),
    ] = None,
) -> None:
    """Serve a gallery: an interface for programs and a page for people."""
    from passerby.errors import MissingExtraError
    from passerby.gallery import Gallery

    try:
        from passerby.serve import Settings
        from passerby.serve.running import run
        from passerby.serve.settings import token_from_environment
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "serve", "serving a gallery") from error

    settings = Settings(
        host, port, token_from_environment(), uploads, allow_delete, workers, waiting, timeout, audit, audit_queries,
        tuple(rerank or ()),
    )  # fmt: skip
    # What the model could not read of a query is part of the answer, and queries are nobody else's business.
    logging.getLogger("passerby.retriever").setLevel(logging.ERROR)
    with Gallery.open(gallery, model) as people:
        run(people, settings, lambda address: typer.echo(f"serving {gallery} at {address}; Ctrl-C stops it"))
