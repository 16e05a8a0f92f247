"""`passerby world`: make the synthetic street in a real data set's layout, or draw a sheet of its people.

Standard output carries the result, standard error the progress. Making a street again that is there already takes no
time, and a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from passerby.cli.lazy import PLAIN
from passerby.errors import ConfigError

#: In the help; the layouts themselves would import what draws. A test compares.
LAYOUT_NAMES = (
    "rstpreid, cuhk-pedes, cuhk-pedes-by-split, icfg-pedes, flickr30k, flickr30k-kaggle, flickr8k, flickr8k-kaggle, "
    "market1501, dukemtmc, cuhk03, cuhk03-mat, msmt17"
)

#: Readers of layouts with sentences, people and the three splits that the recipe `street` needs.
TRAINABLE = ("rstpreid", "cuhk-pedes")

command = typer.Typer(help="Make the synthetic street, or draw a sheet of its people.", no_args_is_help=True, **PLAIN)


@command.command()
def make(
    out: Annotated[Path, typer.Argument(help="The folder to write; made when missing.")],
    layout: Annotated[str, typer.Option(help=f"The data set whose layout is used: {LAYOUT_NAMES}.")] = "rstpreid",
    defects: Annotated[bool, typer.Option("--defects", help="Also what is wrong with published sets.")] = False,
    plan: Annotated[str, typer.Option(help="Numbers to start from: small, medium or large.")] = "medium",
    identities: Annotated[int | None, typer.Option(help="People to train on.")] = None,
    val_identities: Annotated[int | None, typer.Option(help="People to choose models on.")] = None,
    test_identities: Annotated[int | None, typer.Option(help="People to test on.")] = None,
    views: Annotated[int | None, typer.Option(help="Pictures of each training person.")] = None,
    test_views: Annotated[int | None, typer.Option(help="Pictures of each other person.")] = None,
    size: Annotated[str | None, typer.Option(help="HxW of the pictures, such as 128x64, or natural.")] = None,
    masks: Annotated[bool, typer.Option("--masks", help="Write part masks beside the pictures.")] = False,
    detail: Annotated[float | None, typer.Option(help="How little narrators leave out.")] = None,
    error_rate: Annotated[float | None, typer.Option(help="Share of facts that narrators get wrong.")] = None,
    seed: Annotated[int, typer.Option(help="Decides everything that is drawn.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Write a street: pictures, captions, splits and what every phrase is about."""
    from passerby.cli.terminal import counting
    from passerby.data.world.layouts import layout_of
    from passerby.data.world.street import street_of_size
    from passerby.data.world.writing import write

    given = {
        "train": identities,
        "val": val_identities,
        "test": test_identities,
        "train_views": views,
        "test_views": test_views,
        "size": None if size is None else picture_size(size),
        "detail": detail,
        "error_rate": error_rate,
    }
    street = replace(
        street_of_size(plan),
        seed=seed,
        masks=masks,
        **{key: value for key, value in given.items() if value is not None},
    )
    started = time.perf_counter()
    with counting("drawing", "pictures") as count:

        def progress(done: int, total: int) -> None:
            count(done, total, "")

        write(street, out, layout=layout, defects=defects, workers=workers, progress=progress)
    seconds = time.perf_counter() - started
    if as_json:
        record = {"root": str(out), "layout": layout, "images": street.images, "seconds": round(seconds, 3)}
        typer.echo(json.dumps({**record, "plan": asdict(street)}))
        return
    people = street.train + street.val + street.test
    typer.echo(f"{out}: {street.images:,} pictures of {people:,} people in {seconds:.1f} s")
    reader = layout_of(layout).reader
    if reader in TRAINABLE and not defects:
        typer.echo(f"next: passerby train street --data {reader}:{out} --out RUN")
    else:
        typer.echo(f"next: passerby data check {reader} {out}")


@command.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="The PNG to write.")],
    identities: Annotated[int, typer.Option(help="People to draw, one row each.", min=1, max=40)] = 8,
    seed: Annotated[int, typer.Option(help="Decides who they are.")] = 0,
) -> None:
    """Draw people as all cameras see them, with their part masks."""
    from passerby.data.sheets import save_sheet
    from passerby.data.world.contact_sheet import contact_sheet
    from passerby.data.world.identities import FAMILY_SIZE, people

    bases = people(seed, identities * FAMILY_SIZE)[::FAMILY_SIZE]  # one of each family, or half the rows look alike
    typer.echo(str(save_sheet(contact_sheet(bases, seed), out)))


@command.command("film")
def film_street(
    out: Annotated[Path, typer.Argument(help="The video to write, ending in .avi; a table of boxes goes beside it.")],
    walkers: Annotated[int, typer.Option(help="People who walk past.")] = 6,
    seconds: Annotated[float, typer.Option(help="Length of the film.")] = 20.0,
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 10.0,
    size: Annotated[str, typer.Option(help="HxW of the frames.")] = "360x640",
    camera: Annotated[int, typer.Option(help="Which of the street's seven cameras.", min=1, max=7)] = 1,
    light: Annotated[str, typer.Option(help="day, shade or night.")] = "day",
    seed: Annotated[int, typer.Option(help="Decides who walks when and where.")] = 0,
) -> None:
    """Film people who walk past one camera, with a table of who is where in every frame."""
    from passerby.cli.terminal import counting
    from passerby.data.world.scenes import Scene
    from passerby.ingest.filming import write_film

    pixels = picture_size(size)
    if isinstance(pixels, str):
        raise ConfigError(f"size is {size!r}; a film needs HEIGHTxWIDTH in pixels, such as 360x640")
    scene = Scene(walkers, seconds, fps, pixels, camera - 1, light, seed)
    with counting("filming", unit="frames") as count:
        table = write_film(scene, out, lambda done, total: count(done, total, ""))
    typer.echo(f"{out}: {scene.frames:,} frames of {scene.walkers} people; who is where: {table}")
    typer.echo(f"next: passerby index {out} --gallery people")


def picture_size(text: str) -> tuple[int, int] | str:
    """Read "128x64" (H x W) or "natural".

    Raises:
        ConfigError: neither of the two.
    """
    if text == "natural":
        return text
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ConfigError(f"size is {text!r}; expected HEIGHTxWIDTH in pixels, such as 128x64, or natural")
    return int(height), int(width)
