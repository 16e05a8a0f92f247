"""The `passerby` command: knows its sub-commands by name, and imports one only when it is called.

Everything a command needs is loaded by that command, so that help and searching stay fast. What goes wrong in a way
that we foresaw is one line on standard error; anything else is a defect and shows its traceback.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, NoReturn

import typer

from passerby import __version__
from passerby.cli.lazy import PLAIN, LazyGroup
from passerby.errors import PasserbyError

#: Name of each command, which is also its module, to the line that help shows.
COMMANDS = {
    "demo": "Make a street, train, evaluate and search it, in minutes on a CPU.",
    "world": "Make the synthetic street, in a real data set's own layout.",
    "data": "Check a data set, look at it, or split it by identity.",
    "train": "Train a model from a recipe; an interrupted run continues.",
    "evaluate": "Measure what a model finds in a data set.",
    "index": "Put pictures into a gallery; an interrupted run continues.",
    "search": "Find people in a gallery by a sentence, a picture or both.",
    "explain": "Show which places and which words decided a score.",
    "serve": "Serve a gallery: an interface for programs and a page for people.",
    "gallery": "Show, list, delete, check or copy what a gallery holds.",
    "study": "Studies: what models cost, what attention, context and selection add.",
    "export": "Write a model's towers for ONNX Runtime or OpenVINO.",
    "doctor": "Print versions, devices, extras and caches.",
}

_FAILED, _INTERRUPTED = 1, 130


class CommandGroup(LazyGroup):
    """The commands of `passerby`."""

    members = MappingProxyType(COMMANDS)


_application = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}, **PLAIN
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"passerby {__version__}")
        raise typer.Exit


@_application.callback()
def passerby(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find people in pictures: by a sentence, by a photo, or by both."""
    del version


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    # Typer checks arguments with pydantic, which would search every installed package for plugins first.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    logging.basicConfig(format="passerby: %(message)s", level=logging.WARNING)
    # Pillow warns of a large picture that our own caps then refuse with a message of their own.
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    warnings.filterwarnings("ignore", message="Corrupt EXIF data")
    try:
        typer.main.get_command(_application).main(args=arguments, prog_name="passerby")
    except PasserbyError as error:
        typer.echo(f"passerby: {error}", err=True)
        sys.exit(_FAILED)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            typer.echo("passerby: stopped", err=True)
        raise
    sys.exit(0)


if __name__ == "__main__":
    main()
