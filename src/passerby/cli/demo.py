"""`passerby demo`: a street is made, a model learns it, and five sentences find people that it has never seen."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passerby.cli.terminal import Counter, counting
from passerby.errors import MissingExtraError

if TYPE_CHECKING:
    from passerby.studies.demo import DemoResult

#: What the demo needs beyond the base install, and the extra that brings it.
_NEEDED = {"torch": "train", "accelerate": "train", "jinja2": "train", "onnx": "export", "onnxscript": "export"}
#: What each activity of the demo counts.
_UNITS = {"training": "steps", "evaluating": "passes"}


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the results; an interrupted demo in it continues.")
    ] = Path("demo"),
    size: Annotated[str, typer.Option("--size", help="small, medium, or large (for a GPU).")] = "medium",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the street and of the training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Draw a street, train on it, find unseen people by sentences, and write a report, in minutes on a CPU."""
    from passerby.cli.threads import settle_threads

    for package, extra in _NEEDED.items():  # said before a street is drawn that nothing could learn
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, "the demo")
    settle_threads()  # before torch is imported
    from passerby.studies.demo import run_demo

    with ExitStack() as stack:
        counts: dict[str, Counter] = {}

        def announce(activity: str, done: int, total: int, remark: str) -> None:
            if activity not in counts:
                stack.close()  # a terminal shows one bar at a time
                counts[activity] = stack.enter_context(counting(activity, _UNITS.get(activity, "images")))
            counts[activity](done, total, remark)

        result = run_demo(out / f"{size}-{seed}", size, seed, announce)
    if as_json:
        import json

        typer.echo(json.dumps(result.report))
    else:
        typer.echo(_in_words(result))


_ROWS = {
    "model": "model, text to image",
    "ceiling": "ceiling: all-knowing reader of the words",
    "colour_baseline": "colour histograms and colour words",
    "chance": "chance",
    "image_to_image": "model, image to image",
}


def _in_words(result: DemoResult) -> str:
    from passerby.data.world.guest import GUEST_SENTENCE

    report: dict[str, Any] = dict(result.report)
    counts, total = report["counts"], report["seconds"]["total"]
    lines = [
        f"{counts['queries']} sentences, {counts['gallery_images']:,} pictures, "
        f"{counts['test_identities']} unseen people",
        f"{'':42}{'R@1':>7}{'R@5':>7}{'R@10':>7}{'mAP':>7}{'mINP':>7}",
    ]
    for key, label in _ROWS.items():
        row = report[key]
        lines.append(f"{label:42}" + "".join(f"{row[name]:7.1f}" for name in ("r1", "r5", "r10", "map", "minp")))
    lines += [
        report["protocol"]["text_to_image"],
        f"{total['wall']:.0f} s wall, {total['cpu']:.0f} s of processor time",
        f"report: {result.page}",
        f'try next: passerby search {result.folder / "gallery"} "{GUEST_SENTENCE}" --grid found.png',
    ]
    return "\n".join(lines)
