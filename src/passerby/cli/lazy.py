"""Groups of commands that know their members by name and import one only when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from passerby.errors import nearest

#: What every Typer application here is made with. Help without markup needs no rich, which would cost a third of the
#: time that help may take.
PLAIN: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}


class LazyGroup(TyperGroup):
    """A group whose commands live in modules that are imported when they are called; a subclass names them."""

    #: Name of each command to the line that help shows.
    members: ClassVar[Mapping[str, str]] = MappingProxyType({})
    #: The module of a command called NAME, and what one is called in errors.
    module: ClassVar[str] = "passerby.cli.NAME"
    noun: ClassVar[str] = "command"

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table, not of the alphabet."""
        del ctx
        return list(self.members)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command's module: its Typer application `command`, or the function named like it."""
        if cmd_name.startswith("-"):
            return None
        if cmd_name not in self.members:
            ctx.fail(f"there is no {self.noun} {cmd_name!r}.{nearest(cmd_name, self.members)}")
        module = import_module(self.module.replace("NAME", cmd_name))
        application = getattr(module, "command", None)
        if application is None:
            application = typer.Typer(**PLAIN)
            application.command(name=cmd_name)(getattr(module, cmd_name))
        application.rich_markup_mode = None
        command = typer.main.get_command(application)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands out of the table, importing none."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(self.members.items()))
