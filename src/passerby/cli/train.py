"""`passerby train`: from a recipe and a data set to a checkpoint folder, going on where it was stopped.

Progress goes to standard error, the result to standard output. Under `accelerate launch` or `torchrun` only the main
process says anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from passerby.cli.terminal import Counter, counting, printable
from passerby.errors import MissingExtraError, PasserbyError

if TYPE_CHECKING:
    from passerby.training.loop import Progress, TrainResult
    from passerby.training.recipe import Recipe

_Tracker = Literal["tensorboard", "wandb"]


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or the path of a .yaml file.")],
    data: Annotated[str, typer.Option("--data", help="NAME:ROOT of a data set, for example rstpreid:street/.")],
    out: Annotated[Path, typer.Option("--out", help="The run's folder; an unfinished run in it continues.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, for example optimisation.epochs=3."),
    ] = None,
    tracker: Annotated[_Tracker | None, typer.Option(help="Where figures also go, beside OUT/log.jsonl.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Train a recipe on a data set. The best model lies in OUT/checkpoint; an interrupted run continues."""
    from passerby.cli.threads import settle_threads

    settle_threads()  # before torch is imported
    try:
        result, resolved = _train(recipe, data, out, changes or [], tracker)
    except KeyboardInterrupt:
        if _is_main():
            typer.echo("the same command continues from the last saved state", err=True)
        raise
    except PasserbyError:
        # What is wrong for one process is wrong for all, so one says it.
        if _is_main():
            raise
        raise typer.Exit(1) from None
    if _is_main():
        typer.echo(_as_json(result) if as_json else _in_words(result, resolved))


def _train(
    recipe: str, data: str, out: Path, changes: list[str], tracker: _Tracker | None
) -> tuple[TrainResult, Recipe]:
    # Recipe and data set first: both are read in a moment, torch is not.
    from passerby.data.readers import open_dataset
    from passerby.training.recipe import load_recipe

    resolved = load_recipe(recipe, changes)
    dataset = open_dataset(data)
    for package in ("torch", "accelerate"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train", "training")
    from passerby.training.run import run_recipe

    with _watching(resolved) as watch:
        return run_recipe(resolved, dataset, out, watch.trained, watch.decoded, tracker=tracker), resolved


def _is_main() -> bool:
    """Whether this is the process that talks, as the launchers number them."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True, slots=True)
class _Watch:
    """What a run tells while it works."""

    decoded: Callable[[int, int], None]
    trained: Callable[[Progress], None]


@contextmanager
def _watching(recipe: Recipe) -> Iterator[_Watch]:
    """Show one count after the other: pictures decoded, then pictures trained on since the first report."""
    batch, epochs = recipe.optimisation.batch_size, recipe.optimisation.epochs
    with ExitStack() as stack:
        counts: dict[str, Counter] = {}
        first: int | None = None  # step of the first report; a resumed run does not begin at nought

        def count(activity: str) -> Counter:
            if activity not in counts:
                stack.close()  # a terminal shows one bar at a time
                counts[activity] = stack.enter_context(counting(activity))
            return counts[activity]

        def trained(at: Progress) -> None:
            nonlocal first
            first = at.step if first is None else first
            done, total = (at.step - first) * batch, (at.steps - first) * batch
            count("training")(done, total, f"epoch {at.epoch + 1}/{epochs}, {_remark(at)}")

        yield _Watch(lambda done, total: count("decoding")(done, total, ""), trained)


def _remark(at: Progress) -> str:
    parts = [f"loss {sum(at.losses.values()):.3f}"]
    return ", ".join(parts + [f"{_NAMES.get(key, key)} {value:.1f}" for key, value in at.figures.items()])


_NAMES = {"r1": "R@1", "map": "mAP"}


def _as_json(result: TrainResult) -> str:
    return json.dumps(
        {
            "run": str(result.folder),
            "checkpoint": str(result.folder / "checkpoint"),
            "steps": result.steps,
            "resumed_at": result.resumed_at,
            "seconds": round(result.seconds, 2),
            "best": result.best,
        }
    )


def _in_words(result: TrainResult, recipe: Recipe) -> str:
    lines = [f"trained {printable(recipe.name)}: {result.steps - result.resumed_at:,} steps in {result.seconds:,.0f} s"]
    if result.best:
        figures = ", ".join(f"{name} {result.best[key]:.1f}" for key, name in _NAMES.items() if key in result.best)
        lines.append(f"best on {recipe.evaluation.selection_split}: {figures}, in epoch {result.best['epoch']:.0f}")
    return "\n".join([*lines, f"model: {result.folder / 'checkpoint'}"])
