"""`passerby export`: a model's towers as files that run without torch, compared with the original before they are kept.

The table goes to standard output; a tower that differs from the original is an error, and nothing is written.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    model: Annotated[
        str, typer.Argument(help="A checkpoint folder, hf:org/name@rev, a shipped name or a CLIP folder.")
    ],
    to: Annotated[Literal["onnx"], typer.Option(help="The format; ONNX Runtime and OpenVINO both read it.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="A new folder for the exported towers; by default the model's own folder.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="A folder of pictures to compare on, beside random ones.", metavar="FOLDER")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store large weights in half precision: half the size, same speed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Export a model so that it runs without torch."""
    from passerby.export.onnx import export_onnx

    pictures = [] if check is None else _pictures(check)
    report = export_onnx(model, out, pictures, "float16" if half else "float32")
    if as_json:
        plain = {"folder": str(report.folder), "format": to, "bytes": report.bytes}
        typer.echo(json.dumps({**plain, "image": asdict(report.image), "text": asdict(report.text)}, indent=2))
        return
    typer.echo(f"{report.folder}: both towers as {to.upper()}, {report.bytes / 1e6:.1f} MB")
    for parity in (report.image, report.text):
        typer.echo(
            f"  {parity.tower:5}  {parity.rows} inputs  max difference {parity.max_difference:.1e}  "
            f"cosine {parity.cosine:.6f}  top-10 agreement {100 * parity.top10:.1f} %"
        )


def _pictures(folder: Path) -> list[Path]:
    """The first pictures of a folder, enough to compare nearest neighbours on."""
    from passerby.data.images import is_image_file
    from passerby.errors import DataError

    most = 64
    if not folder.is_dir():
        raise DataError(f"no folder of pictures at {folder}; --check takes an existing folder")
    found = sorted(path for path in folder.rglob("*") if is_image_file(path))[:most]
    if not found:
        raise DataError(f"{folder} holds no picture; --check takes a folder with JPEG, PNG, WebP or BMP files")
    return found
