"""`passerby study`: the papers' tables and figures, and what models cost; each study in a module of its own.

A sub-command lives in ``study_NAME.py`` as a function called NAME and is imported when it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from passerby.errors import nearest

#: Name of each study to the line that help shows.
STUDIES = {
    "profile": "Measure what models cost: parameters, multiply-adds, latency, memory.",
    "attention": "No, self, sparse and cross attention in a small CLIP: trained, tabled and drawn.",
    "encoders": "Small encoders: accuracy against parameters, multiply-adds and latency, and which to take.",
    "context": "Pictures in context: stage 1, NFormer, MagFormer and re-ranking, each under its protocols.",
    "selection": "ITSELF: schedules, selectors and backbones against its rivals, and where models look.",
}

_PLAIN: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}


class StudyGroup(TyperGroup):
    """A group whose commands live in modules that are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table above."""
        del ctx
        return list(STUDIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the study's module and make a command of the function named like it."""
        if cmd_name not in STUDIES:
            if cmd_name.startswith("-"):
                return None
            ctx.fail(f"there is no study {cmd_name!r}.{nearest(cmd_name, STUDIES)}")
        module = import_module(f"passerby.cli.study_{cmd_name}")
        application = typer.Typer(**_PLAIN)
        application.command(name=cmd_name)(getattr(module, cmd_name))
        command = typer.main.get_command(application)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the studies out of the table above, importing none."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(STUDIES.items()))


command = typer.Typer(cls=StudyGroup, no_args_is_help=True, **_PLAIN)


@command.callback()
def study() -> None:
    """Studies: what models cost, what attention, context and selection add."""
