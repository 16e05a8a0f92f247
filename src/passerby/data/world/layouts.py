"""The layouts that a street can be written in, by the names of their data sets."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from passerby.data.world.layout import Layout
from passerby.data.world.reid_layouts import REID_LAYOUTS
from passerby.data.world.text_layouts import TEXT_LAYOUTS
from passerby.errors import ConfigError, MissingExtraError, nearest

LAYOUTS: Mapping[str, Layout] = MappingProxyType({**TEXT_LAYOUTS, **REID_LAYOUTS})


def layout_of(name: str) -> Layout:
    """A layout by the name of its data set.

    Raises:
        ConfigError: no such layout.
        MissingExtraError: its files cannot be written without a package that is not installed.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"no layout {name!r}; there is {', '.join(LAYOUTS)}.{nearest(name, LAYOUTS)}")
    layout = LAYOUTS[name]
    if layout.needs and find_spec(layout.needs) is None:
        raise MissingExtraError(layout.needs, "data", f"writing a street in the layout {name}")
    return layout
