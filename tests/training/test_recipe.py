"""Recipes: shipped ones load, overrides apply, and every mistake is named with its nearest right spelling."""

import pytest
import yaml

from passerby.errors import ConfigError
from passerby.models.towers import image_tower_options, text_tower_options
from passerby.training.families import FAMILIES, find_family
from passerby.training.recipe import Recipe, load_recipe, parse_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_load_and_round_trip(name):
    recipe = load_recipe(name)
    assert recipe.about
    assert parse_recipe(yaml.safe_load(recipe.to_yaml())) == recipe


@pytest.mark.parametrize("name", recipe_names())
def test_towers_of_shipped_recipes_take_their_options(name):
    model = getattr(load_recipe(name), "model", None)
    if getattr(model, "text", None) is None:
        pytest.skip("its model is not made of two towers")
    for tower, options_of in ((model.image, image_tower_options), (model.text, text_tower_options)):
        assert set(tower.options) - {"source"} <= options_of(tower.name, **tower.options)


def test_overrides_reach_nested_keys():
    recipe = load_recipe("street", ["optimisation.epochs=3", "data.image_size=[128, 64]", "model.image.name=resnet50"])
    assert recipe.optimisation.epochs == 3
    assert recipe.data.image_size == (128, 64)
    assert recipe.model.image.name == "resnet50"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimisation.epoch=3", r"optimisation\.epoch: no such key.*Did you mean 'epochs'"),
        ("optimisaton.epochs=3", r"optimisaton: no such key.*Did you mean 'optimisation'"),
        ("optimisation.epochs=0", r"optimisation\.epochs: .*greater than or equal to 1 \(given: 0\)"),
        ("optimisation.epochs=many", r"optimisation\.epochs: .*integer.*\(given: 'many'\)"),
        ("data.sampler=random", r"data\.sampler: .*'shuffled', 'identities' or 'neighbours'"),
        ("seed.x=1", r"'seed' is a value, not a section"),
        ("epochs", r"expected section\.key=value"),
        ("optimisation.epochs=[", r"not valid YAML"),
        ("model.image.target=os.system", r"model\.image\.target: no such key"),
    ],
)
def test_wrong_overrides(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("street", [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objectives.tal.marginn=0.2", r"objectives\.tal\.marginn: no such key; known here: .*Did you mean 'margin'"),
        ("consensus={everry: 2}", r"consensus\.everry: no such key; known here: .*Did you mean 'every'"),
    ],
)
def test_sections_that_may_be_null_name_their_keys_too(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("itself", [override])


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no recipe is called 'stret'.*Did you mean 'street'"):
        load_recipe("stret")


def test_files_are_read_safely(tmp_path):
    with pytest.raises(ConfigError, match="no recipe file"):
        load_recipe(tmp_path / "none.yaml")
    evil = tmp_path / "evil.yaml"
    evil.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_recipe(evil)
    flat = tmp_path / "flat.yaml"
    flat.write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_recipe(flat)


def test_missing_model_is_said():
    with pytest.raises(ConfigError, match="model: missing"):
        parse_recipe({"name": "x"})


def test_every_family_has_a_recipe_and_a_task():
    for name, family in FAMILIES.items():
        assert issubclass(family.recipe(), Recipe), name
        assert callable(family.task()), name


@pytest.mark.parametrize("task", ["dual_encodr", 3, None])
def test_unknown_family_is_named(task):
    with pytest.raises(ConfigError, match="known: dual_encoder"):
        parse_recipe({"name": "x", "task": task})
    with pytest.raises(ConfigError, match="Did you mean 'dual_encoder'"):
        find_family("dual_encoder_")
