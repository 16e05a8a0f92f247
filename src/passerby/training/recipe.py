"""Recipes: typed, frozen descriptions of a training run, read from YAML and changed with ``--set a.b=c``.

An unknown key is an error that names the nearest known one; nothing in a recipe can name a Python class or a path to
code, only registry keys. The resolved recipe is written into every run, so that a run can always be repeated. Here is
what all runs share; each family of methods adds its sections in its own file (`passerby.training.families`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from passerby.errors import ConfigError, nearest
from passerby.training.families import find_family


class Section(BaseModel):
    """A part of a recipe: immutable, unknown keys forbidden."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Share = Annotated[float, Field(ge=0, le=1)]


class AugmentationConfig(Section):
    """Random changes of the training pictures, on tensors, after the cache."""

    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability of a horizontal mirror image."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.06
    """Largest shift as a share of height and width; the border is repeated."""
    colour: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Largest relative change of brightness, and half of it of each channel's gain."""
    erase: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a random rectangle of 2 to 20 % of the picture is filled."""
    erase_colour: tuple[Share, Share, Share] | None = None
    """What it is filled with, red, green and blue from 0 to 1; the picture's mean colour where it is null. Published
    code writes the normalisation's mean into pictures that are normalised already, which is the brighter colour
    ``mean + std * mean``."""


class OptimisationConfig(Section):
    """How the parameters move."""

    epochs: Annotated[int, Field(ge=1)] = 6
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Pairs per step over all processes and accumulated parts together."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Parts that a batch is split into, each with its own forward and backward pass (its negatives are its own)."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    tower_rate: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the learning rate for pretrained towers; heads and temperature always move at the full rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    optimiser: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    """AdamW (decoupled decay), Adam (decay in the gradient, as older recipes have it), SGD with momentum 0.9, or Muon
    (matrices by orthogonal momentum, the rest by AdamW), which learns from scratch in half the samples."""
    matrix_rate: Annotated[float, Field(gt=0)] = 20.0
    """Factor of the learning rate for the matrices under Muon."""
    matrix_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Momentum of the matrices under Muon; a run of a few hundred steps wants less than a long one."""
    schedule: str = "cosine"
    """A name of `passerby.training.schedule.SCHEDULES`, or "plateau": constant, times `decay` after each `patience`
    validations in a row without a better one."""
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Factor of the learning rate that the schedules "cosine" and "linear" end at."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of all steps that the learning rate rises."""
    warmup_from: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Factor of the learning rate that the warm-up begins at."""
    milestones: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Epochs after which the schedule "step" multiplies the learning rate by `decay`."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor of the schedules "step" and "plateau"."""
    patience: Annotated[int, Field(ge=1)] = 1
    """Validations without a better one before "plateau" lowers the learning rate."""
    stop_after: Annotated[int, Field(ge=0)] = 0
    """Validations in a row without a better one after which the run stops; 0 trains all epochs."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the moving average of the parameters; 0 keeps the plain ones."""
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    """Largest gradient norm; 0 does not clip."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"


class EvaluationConfig(Section):
    """Which split chooses the checkpoint, how often, and by which number."""

    selection_split: str = "val"
    every: Annotated[int, Field(ge=0)] = 1
    """Epochs between validations; 0 validates at the end only."""
    metric: Literal["r1", "map"] = "map"


class Recipe(Section):
    """What every training run has, whatever is trained; the families of methods add their data, model and losses."""

    name: str
    about: str = ""
    task: str = "dual_encoder"
    """The family of methods; a key of `passerby.training.families.FAMILIES`."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    augmentation: AugmentationConfig = AugmentationConfig()
    optimisation: OptimisationConfig = OptimisationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    def to_yaml(self) -> str:
        """The resolved recipe as YAML, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """The names of the recipes that passerby ships, sorted."""
    folder = resources.files("passerby.training") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name or a YAML file by path, and apply overrides.

    Args:
        source: a name of `recipe_names`, or a path that ends in ``.yaml`` or ``.yml``.
        overrides: strings ``section.key=value``; the value is read as YAML.

    Raises:
        ConfigError: no such recipe or file, bad YAML, an unknown key, or a value out of range.
    """
    text, origin = _read_source(source)
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the recipe {origin} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"the recipe {origin} must be a mapping of sections, found {type(tree).__name__}")
    for override in overrides:
        _apply_override(tree, override)
    return parse_recipe(tree, origin)


def parse_recipe(tree: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Validate a mapping as a recipe of its family (the key ``task``).

    Raises:
        ConfigError: no such family, or wrong keys or values, one line for each.
    """
    family = find_family(tree.get("task", Recipe.model_fields["task"].default)).recipe()
    try:
        return family.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(problem, family) for problem in error.errors()]
        raise ConfigError(f"the recipe {origin} is wrong:\n  " + "\n  ".join(lines)) from error


def _read_source(source: str | Path) -> tuple[str, str]:
    name = str(source)
    if name.endswith((".yaml", ".yml")):
        path = Path(source)
        if not path.is_file():
            raise ConfigError(f"no recipe file at {path}; shipped recipes are {', '.join(recipe_names())}")
        return path.read_text(encoding="utf-8"), str(path)
    if name not in recipe_names():
        raise ConfigError(
            f"no recipe is called {name!r}; shipped: {', '.join(recipe_names())}.{nearest(name, recipe_names())} "
            "A recipe of your own is given by its path, ending in .yaml"
        )
    return (resources.files("passerby.training") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8"), name


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {override!r}: expected section.key=value, for example optimisation.epochs=3")
    *parents, last = key.strip().split(".")
    node: Any = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} is a value, not a section")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not valid YAML: {error}") from error


def _explain(problem: Any, family: type[Recipe]) -> str:
    location = [str(part) for part in problem["loc"]]
    where = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], family)
        return f"{where}: no such key; known here: {', '.join(known)}.{nearest(location[-1], known)}"
    if problem["type"] == "missing":
        return f"{where}: missing"
    return f"{where}: {problem['msg']} (given: {problem['input']!r})"


def _known_keys(path: list[str], family: type[Recipe]) -> list[str]:
    node: type[BaseModel] = family
    for part in path:
        annotation = node.model_fields[part].annotation
        choices = [annotation, *get_args(annotation)]  # a section that may be null is one of two choices
        sections = [one for one in choices if isinstance(one, type) and issubclass(one, BaseModel)]
        if not sections:
            return []
        node = sections[0]
    return list(node.model_fields)
