"""`passerby study encoders`: how much accuracy a smaller picture tower costs, as tables, figures and a page."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.cli.terminal import counting
from passerby.errors import MissingExtraError

if TYPE_CHECKING:
    from passerby.studies.encoders import EncodersStudy

#: What the study needs beyond the base install, and the extra that brings it.
_NEEDED = {"torch": "train", "accelerate": "train", "timm": "train", "jinja2": "viz", "matplotlib": "viz"}


def encoders(
    out: Annotated[Path, typer.Option("--out", help="Folder of the results; a study that was stopped goes on in it.")],
    data: Annotated[str, typer.Option("--data", help="NAME:ROOT of a set; street and tiny draw their own.")] = "",
    preset: Annotated[
        str, typer.Option(help="ours or report (nine encoders), street (three, minutes on two cores) or tiny (a look).")
    ] = "ours",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train small picture towers against one frozen text tower; accuracy beside cost."""
    from passerby.cli.threads import settle_threads

    for package, extra in _NEEDED.items():  # said before anything is trained
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, "the study of encoders")
    settle_threads()  # before torch is imported
    from passerby.studies.encoders import run_encoders

    with counting("studying", "encoders") as count:
        result = run_encoders(out, data, preset, count)
    typer.echo(json.dumps(dict(result.report)) if as_json else _in_words(result))


def _in_words(result: EncodersStudy) -> str:
    lines = [f"{'':18}{'R@1':>7}{'mAP':>7}{'M parameters':>14}{'M MAC':>9}{'ms':>8}  interval of R@1"]
    for cell in result.report["cells"]:
        profile, (low, high) = cell["profile"], cell["intervals"]["r1"]
        bounds = "" if low is None else f"  {low:.1f} to {high:.1f}"
        lines.append(
            f"{cell['encoder']:18}{cell['figures']['r1']:7.1f}{cell['figures']['map']:7.1f}"
            f"{profile['image_parameters'] / 1e6:14.2f}{profile['image_multiply_adds'] / 1e6:9.1f}"
            f"{profile['image_batch1']['p50_ms']:8.1f}{bounds}"
        )
    lines += [f"{row['budget']}: {row['take']} ({row['why']})" for row in result.report["recommendations"]]
    return "\n".join([*lines, f"page: {result.page}"])
