"""`passerby data`: check a data set, look at it, or split it by identity.

`check` prints what each split holds beside what was published, and a line for everything that is wrong with what to
do about it; it ends with 1 when something must be put right. `show` draws a sheet of pictures with their captions.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passerby.cli.lazy import PLAIN
from passerby.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from passerby.data.checking import Checkup
    from passerby.data.findings import Finding

command = typer.Typer(help="Check a data set, look at it, or split it by identity.", no_args_is_help=True, **PLAIN)

_Name = Annotated[str, typer.Argument(help="Name of the data set, such as rstpreid, csv or folders.")]
_Root = Annotated[Path, typer.Argument(help="Its folder, or the file that lists it.")]

_COLOURS = {"fatal": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}
_USUAL_SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
_FAILED = 1


@command.command()
def check(
    name: _Name,
    root: _Root,
    everything: Annotated[bool, typer.Option("--all", help="Decode every picture instead of a sample.")] = False,
    tokens: Annotated[int, typer.Option(help="Length of the text that the model reads; 77 for CLIP.", min=3)] = 77,
    seed: Annotated[int, typer.Option(help="Decides which pictures are decoded.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Check a data set: counts, missing pictures, people in two splits, captions, duplicates."""
    from passerby.cli.terminal import counting
    from passerby.data.checking import SAMPLE, check
    from passerby.data.readers import open_source

    source = open_source(name, root)
    with counting("reading pictures") as counter:
        checkup = check(
            source,
            sample=None if everything else SAMPLE,
            most_tokens=tokens,
            seed=seed,
            progress=lambda done, total: counter(done, total, ""),
        )
    if as_json:
        typer.echo(json.dumps(_record(checkup), ensure_ascii=False))
    else:
        _print(checkup)
    if checkup.is_fatal:
        raise typer.Exit(_FAILED)


@command.command()
def show(
    name: _Name,
    root: _Root,
    out: Annotated[Path, typer.Option("--out", help="The PNG to write.")],
    split: Annotated[str | None, typer.Option(help="Only this split; all of them when left out.")] = None,
    people: Annotated[int, typer.Option(help="People, or pictures where nobody is known.", min=1, max=60)] = 8,
    views: Annotated[int, typer.Option(help="Most pictures of each person.", min=1, max=20)] = 4,
    seed: Annotated[int, typer.Option(help="Decides who is shown.", min=0)] = 0,
) -> None:
    """Draw a sheet of some people, or pictures, with their captions."""
    from passerby.data.readers import open_source
    from passerby.data.samples import sample_sheet
    from passerby.data.sheets import save_sheet

    sheet = sample_sheet(open_source(name, root), split=split, people=people, views=views, seed=seed)
    typer.echo(str(save_sheet(sheet, out)))


@command.command()
def split(
    name: _Name,
    root: _Root,
    out: Annotated[Path, typer.Option("--out", help="The .jsonl list to write.")],
    share: Annotated[
        list[str] | None,
        typer.Option(help="SPLIT=SHARE of the people, once for each split.", show_default="train=0.8 val=0.1 test=0.1"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides who goes where.", min=0)] = 0,
) -> None:
    """Split a data set by identity: nobody is in two splits. Writes a list to open as jsonl:FILE."""
    from passerby.data.readers import open_source
    from passerby.data.readers.own_list import write_list
    from passerby.data.readers.source import assemble, in_one_split
    from passerby.data.splitting import split_by_identity

    if out.suffix != ".jsonl":
        raise ConfigError(f"the list is to be written to {out}; expected a name that ends in .jsonl")
    # As one split, because people in two splits are a reason to come here.
    everything = assemble(in_one_split(open_source(name, root)))
    dataset = split_by_identity(everything, parse_shares(share) if share else _USUAL_SHARES, seed)
    write_list(dataset, out)
    for part in dataset.splits.values():
        typer.echo(f"{part.name}: {len(part.images):,} pictures of {len(part.identities):,} people")
    typer.echo(f"next: passerby data check jsonl {out}")


def parse_shares(given: list[str]) -> dict[str, float]:
    """Read SPLIT=SHARE.

    Raises:
        ConfigError: not of that form, or a split is given twice.
    """
    shares: dict[str, float] = {}
    for text in given:
        name, _, share = text.partition("=")
        try:
            value = float(share)
        except ValueError:
            raise ConfigError(f"share is {text!r}; expected SPLIT=SHARE, such as train=0.8") from None
        if not name or name in shares:
            raise ConfigError(f"share is {text!r}; expected each split once, such as train=0.8")
        shares[name] = value
    return shares


def _record(checkup: Checkup) -> dict[str, Any]:
    source = checkup.source
    return {
        "name": source.name,
        "root": str(source.root),
        "licence": checkup.licence,
        "fatal": checkup.is_fatal,
        "counts": {split: asdict(counts) for split, counts in checkup.counts.items()},
        "published": {split: asdict(counts) for split, counts in checkup.published.items()},
        "findings": [asdict(one) for one in checkup.findings],
        "notes": list(source.notes),
    }


def _print(checkup: Checkup) -> None:
    from rich.console import Console
    from rich.text import Text

    source = checkup.source
    console = Console(highlight=False)
    console.print(Text(f"{checkup.title} in {source.root}", style="bold"))
    console.print(Text(f"terms: {checkup.licence}"))
    console.print(_counts_table(checkup))
    console.print(_findings_table(checkup))
    for one in checkup.findings:
        if one.level != "ok":
            console.print(_remarks(one))
    for note in source.notes:
        console.print(Text(f"note: {note}"))
    worst = [one.check for one in checkup.findings if one.level == "fatal"]
    verdict = f"to be put right: {', '.join(worst)}" if worst else "nothing that must be put right"
    console.print(Text(verdict, style=_COLOURS["fatal" if worst else "ok"]))


def _counts_table(checkup: Checkup) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, header_style="bold")
    columns = {"images": "pictures", "identities": "people", "captions": "captions", "queries": "queries"}
    table.add_column("split")
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for split in dict.fromkeys((*checkup.counts, *checkup.published)):
        cells = []
        for key in columns:
            found = getattr(checkup.counts.get(split), key, 0)
            expected = getattr(checkup.published.get(split), key, None)
            off = expected not in (None, found)
            cells.append(Text(f"{found:,}" + (f"\nnot {expected:,}" if off else ""), _COLOURS["fatal"] if off else ""))
        table.add_row(Text(split), *cells)
    return table


def _findings_table(checkup: Checkup) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, header_style="bold")
    table.add_column("")
    table.add_column("check")
    table.add_column("found", justify="right")
    table.add_column("among", justify="right")
    for one in checkup.findings:
        table.add_row(Text(one.level, _COLOURS[one.level]), Text(one.check), f"{one.count:,}", f"{one.of:,}")
    return table


def _remarks(one: Finding) -> Text:
    """What was found in a paragraph: what to do, where first, how it was counted."""
    from rich.text import Text

    from passerby.cli.terminal import printable

    text = Text.assemble((one.level, _COLOURS[one.level]), f" {one.check}: {one.advice}")
    for line in [f"such as {example}" for example in one.examples] + [one.detail] * bool(one.detail):
        text.append(f"\n  {printable(line)}", style="dim")
    return text
