"""Towers by name: each tower's file registers itself here, and recipes and checkpoints speak only in these names.

Nothing is imported before a tower is asked for, so this module and the checkpoint reader work without torch. A name
may carry its source, ``timm:resnet50`` or ``distilbert:folder``; any name that timm knows works without the prefix.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from passerby.errors import ConfigError, MissingExtraError, nearest

if TYPE_CHECKING:
    from passerby.models.tokenizer import Tokenizer
    from passerby.models.towers.base import ImageTower, TextTower

_IMAGE: dict[str, type[Any]] = {}
_TEXT: dict[str, type[Any]] = {}
_MACHINERY = frozenset({"base", "registry"})
_T = TypeVar("_T", bound=type)


def register_image_tower(name: str) -> Callable[[_T], _T]:
    """Class decorator: make an image tower known by a name.

    Raises:
        ConfigError: another tower has the name.
    """
    return _register(_IMAGE, "image tower", name)


def register_text_tower(name: str) -> Callable[[_T], _T]:
    """Class decorator: make a text tower known by a name.

    Raises:
        ConfigError: another tower has the name.
    """
    return _register(_TEXT, "text tower", name)


def image_tower_names() -> list[str]:
    """The registered image towers, sorted; every name of timm works beside them."""
    _import_towers()
    return sorted(_IMAGE)


def text_tower_names() -> list[str]:
    """The registered text towers, sorted."""
    _import_towers()
    return sorted(_TEXT)


def image_tower(name: str, **options: Any) -> ImageTower:
    """Build an image tower.

    Args:
        name: a registered name, a timm model's name, or ``name:source``.
        **options: keyword arguments of that tower.

    Raises:
        ConfigError: no such tower or option; the message names the nearest known one.
    """
    key, chosen = _resolve_image(name, options)
    return _build(_IMAGE[key], key, chosen)


def text_tower(name: str, **options: Any) -> TextTower:
    """Build a text tower.

    Args:
        name: a registered name, or ``name:source`` for a tower that takes a hub name or a local folder.
        **options: keyword arguments of that tower.

    Raises:
        ConfigError: no such tower or option; the message names the nearest known one.
    """
    key, chosen = _resolve_text(name, options)
    return _build(_TEXT[key], key, chosen)


def image_tower_options(name: str, **options: Any) -> set[str]:
    """The option names that an image tower takes; with a ``source`` among the given ones they are fewer."""
    key, chosen = _resolve_image(name, options)
    return set(_parameters(_maker(_IMAGE[key], chosen)))


def text_tower_options(name: str, **options: Any) -> set[str]:
    """The option names that a text tower takes; with a ``source`` among the given ones they are fewer."""
    key, chosen = _resolve_text(name, options)
    return set(_parameters(_maker(_TEXT[key], chosen)))


def text_tower_tokenizer(name: str, context_length: int, **options: Any) -> Tokenizer | None:
    """The tokenizer that a pretrained text tower brings along; None for towers that learn one from the captions.

    Args:
        name: as for `text_tower`.
        context_length: most tokens of a sentence.
        **options: as for `text_tower`.

    Raises:
        ConfigError: no such tower.
        CheckpointError: the tower's source has no tokenizer.
    """
    key, chosen = _resolve_text(name, options)
    if "source" not in chosen:
        return None
    return _TEXT[key].tokenizer_of(chosen["source"], context_length)


def _register(registry: dict[str, type[Any]], kind: str, name: str) -> Callable[[_T], _T]:
    def decorate(tower: _T) -> _T:
        known = registry.get(name)
        if known is not None and known.__qualname__ != tower.__qualname__:
            raise ConfigError(f"{kind} {name!r} is registered twice: by {known.__qualname__} and {tower.__qualname__}")
        registry[name] = tower
        return tower

    return decorate


def _import_towers() -> None:
    """Import every tower's file; each is light until its tower is built."""
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "train", "building a tower")
    package = import_module("passerby.models.towers")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _MACHINERY:
            import_module(f"{package.__name__}.{module.name}")


def _resolve_image(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    _import_towers()
    found = _with_source(_IMAGE, name, options)
    if found is not None:
        return found
    from passerby.models.towers.timm_image import is_timm_name, timm_names

    if is_timm_name(name):
        return "timm", {"source": name, **options}
    hint = nearest(name, [*_IMAGE, *timm_names()])
    raise ConfigError(
        f"no image tower is called {name!r}; known: {', '.join(sorted(_IMAGE))} and every model of timm.{hint}"
    )


def _resolve_text(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    _import_towers()
    found = _with_source(_TEXT, name, options)
    if found is not None:
        return found
    raise ConfigError(f"no text tower is called {name!r}; known: {', '.join(sorted(_TEXT))}.{nearest(name, _TEXT)}")


def _with_source(
    registry: Mapping[str, type[Any]], name: str, options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    if name in registry:
        return name, dict(options)
    key, colon, source = name.partition(":")
    if colon and key in registry:
        return key, {"source": source, **options}
    return None


def _maker(tower: type[Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    """What builds the tower: a pretrained source decides the shapes, so it comes with fewer options."""
    return tower.from_source if "source" in options and hasattr(tower, "from_source") else tower


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(make).parameters


def _build(tower: type[Any], name: str, options: dict[str, Any]) -> Any:
    make = _maker(tower, options)
    parameters = _parameters(make)
    for option in options:
        if option not in parameters:
            raise ConfigError(
                f"the tower {name!r} has no option {option!r}; known: {', '.join(sorted(parameters)) or 'none'}."
                f"{nearest(option, parameters)}"
            )
    missing = [p.name for p in parameters.values() if p.default is inspect.Parameter.empty and p.name not in options]
    if missing:
        raise ConfigError(f"the tower {name!r} needs the option {missing[0]!r}; pass it in the tower's options")
    built = make(**options)
    if not built.name:  # one that comes out of a checkpoint keeps the name and the options that it has there
        built.name, built.options = name, built.structure(options)
    return built
