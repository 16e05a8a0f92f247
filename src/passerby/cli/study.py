"""`passerby study`: the papers' tables and figures, and what models cost; each study in a module of its own.

A sub-command lives in ``study_NAME.py`` as a function called NAME and is imported when it is called.
"""

from __future__ import annotations

from types import MappingProxyType

import typer

from passerby.cli.lazy import PLAIN, LazyGroup

#: Name of each study to the line that help shows.
STUDIES = {
    "profile": "Measure what models cost: parameters, multiply-adds, latency, memory.",
    "attention": "No, self, sparse and cross attention in a small CLIP: trained, tabled and drawn.",
    "encoders": "Small encoders: accuracy against parameters, multiply-adds and latency, and which to take.",
    "context": "Pictures in context: stage 1, NFormer, MagFormer and re-ranking, each under its protocols.",
    "selection": "ITSELF: schedules, selectors and backbones against its rivals, and where models look.",
}


class StudyGroup(LazyGroup):
    """The studies of `passerby study`."""

    members = MappingProxyType(STUDIES)
    module = "passerby.cli.study_NAME"
    noun = "study"


command = typer.Typer(cls=StudyGroup, no_args_is_help=True, **PLAIN)


@command.callback()
def study() -> None:
    """Studies: what models cost, what attention, context and selection add."""
