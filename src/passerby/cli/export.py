"""`passerby export`: a model's towers as files that run without torch, compared with the original before they are kept.

The table goes to standard output; a tower that differs from the original is an error, and nothing is written.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from passerby.export.original import ExportReport


def export(
    model: Annotated[
        str, typer.Argument(help="A checkpoint folder, hf:org/name@rev, a shipped name or a CLIP folder.")
    ],
    to: Annotated[
        Literal["onnx", "openvino"], typer.Option(help="The format; OpenVINO reads both, ONNX Runtime its own.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="A new folder; by default the model's own, for --int8 one with -int8 behind its name."),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantize to int8 on calibration pictures.")] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(help="For --int8: a folder of pictures or NAME:ROOT; the drawn street by default."),
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
    if int8 and (half or check is not None):
        raise typer.BadParameter("--int8 is compared on its calibration pictures and has no --half or --check")
    if calibrate is not None and not int8:
        raise typer.BadParameter("--calibrate is for --int8")
    report = _exported(model, to, out, int8, calibrate, check, half)
    times = _measured(report.folder)
    if as_json:
        plain = {"folder": str(report.folder), "format": to, "int8": int8, "bytes": report.bytes}
        parities = {"image": asdict(report.image), "text": asdict(report.text)}
        extra = {"r1": report.r1, "calibrated_on": report.calibrated_on, "ms_of_32_pictures": times}
        typer.echo(json.dumps({**plain, **parities, **extra}, indent=2))
        return
    kind = f"{to.upper() if to == 'onnx' else 'OpenVINO'}{' in int8' if int8 else ''}"
    typer.echo(f"{report.folder}: both towers as {kind}, {report.bytes / 1e6:.1f} MB")
    for parity in (report.image, report.text):
        typer.echo(
            f"  {parity.tower:5}  {parity.rows} inputs  max difference {parity.max_difference:.1e}  "
            f"cosine {parity.cosine:.6f}  top-10 agreement {100 * parity.top10:.1f} %"
        )
    if report.r1 is not None:
        typer.echo(f"  R@1 {report.r1[0]:.1f} before, {report.r1[1]:.1f} after, on {report.calibrated_on}")
    for engine, spent in times.items():
        typer.echo(f"  {engine}: {spent:.1f} ms for 32 pictures on one thread")


def _exported(
    model: str, to: str, out: Path | None, int8: bool, calibrate: str | None, check: Path | None, half: bool
) -> ExportReport:
    if int8:
        from passerby.export.int8 import export_int8

        return export_int8(model, to, out, calibrate)
    pictures = [] if check is None else _pictures(check)
    dtype = "float16" if half else "float32"
    if to == "openvino":
        from passerby.export.openvino import export_openvino

        return export_openvino(model, out, pictures, dtype)
    from passerby.export.onnx import export_onnx

    return export_onnx(model, out, pictures, dtype)


def _measured(folder: Path) -> dict[str, float]:
    """What each engine takes for the exported towers; remembered, so that `auto` chooses the fastest from now on."""
    from passerby.models.checkpoint import read_checkpoint
    from passerby.models.runtimes.measured import measure, remember

    checkpoint = read_checkpoint(folder)
    times = measure(checkpoint)
    remember(checkpoint.config.fingerprint, times)
    return times


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
