"""The documentation held against the code: what can be typed is described, what is described can be typed.

Commands are built but never called, and neither torch nor any other heavy package is imported.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

import passerby
from passerby.cli import app
from passerby.data.readers import READERS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "passerby"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
CLI, TRAINING = (TEXTS[ROOT / "docs" / f"{name}.md"] for name in ("cli", "training"))

#: Typer's own; they belong to no command of ours.
FOREIGN = {"--help", "-h"}
#: What a line of an example may start with besides passerby.
OTHER_PROGRAMS = {"git", "make", "pip", "accelerate", ".venv/bin/python"}


def commands():
    """("world", "make") -> its click command, for every command that does something."""
    group = typer.main.get_command(app._application)
    found = {}
    for name in app.COMMANDS:
        command = group.get_command(None, name)
        names = command.list_commands(None) if hasattr(command, "list_commands") else []
        inner = {(name, key): command.get_command(None, key) for key in names}
        found |= inner or {(name,): command}
    return found


COMMANDS = commands()
WORDS = [" ".join(words) for words in COMMANDS]


def options_of(command):
    return {option for one in command.params for option in (*one.opts, *one.secondary_opts) if option[0] == "-"}


def sections(text):
    """Heading without its backquotes -> what stands below it."""
    parts = re.split(r"^#{1,4} (.+)$", text, flags=re.MULTILINE)
    return {parts[at].replace("`", ""): parts[at + 1] for at in range(1, len(parts), 2)}


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#{1,4} (.+)$", without_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def examples(language):
    for page, text in TEXTS.items():
        for block in re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            yield page.name, block


def tokens_of(line):
    """The words of a shell line up to its comment."""
    return shlex.split(line, comments=True)


LINES = [
    (name, part.strip())
    for name, block in examples("bash")
    for line in block.splitlines()
    for part in line.split("&&")
    if part.strip()
]


@pytest.mark.parametrize("words", COMMANDS, ids=WORDS)
def test_each_command_has_a_section_with_exactly_its_options(words):
    section = sections(CLI)[f"passerby {' '.join(words)}"]
    given = options_of(COMMANDS[words]) - FOREIGN
    described = set(re.findall(r"^\| `(-[\w-]+)`", section, flags=re.MULTILINE))
    assert described == given


@pytest.mark.parametrize("words", COMMANDS, ids=WORDS)
def test_each_default_is_the_one_described(words):
    rows = re.findall(r"^\| `(-[\w-]+)` \|.*\|([^|]*)\|$", sections(CLI)[f"passerby {' '.join(words)}"], re.MULTILINE)
    described = {option: default.strip("` ") for option, default in rows}
    for option in COMMANDS[words].params:
        if option.opts[0] not in described:
            continue
        if option.required:
            assert described[option.opts[0]] == "required"
        elif isinstance(option.default, str | int | float | Path) and not isinstance(option.default, bool):
            assert described[option.opts[0]] == str(option.default)


def test_every_command_is_in_the_overview():
    assert re.findall(r"^\| \[`([a-z]+)`\]", CLI, flags=re.MULTILINE) == list(app.COMMANDS)


@pytest.mark.parametrize(("name", "line"), LINES, ids=[f"{name}: {line[:50]}" for name, line in LINES])
def test_examples_name_what_exists(name, line):
    tokens = tokens_of(line)
    while "=" in tokens[0]:  # settings of the environment
        tokens = tokens[1:]
    if "passerby" in tokens and tokens[0] == "accelerate":
        tokens = tokens[tokens.index("passerby") :]
    program, *rest = tokens
    if program not in ("passerby", ".venv/bin/passerby"):
        assert program in OTHER_PROGRAMS | {"cd"}, f"{name}: {line}"
        if program == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{rest[0]}:", makefile, flags=re.MULTILINE), f"{name}: no target {rest[0]}"
        if program == ".venv/bin/python" and rest[0].endswith(".py"):
            assert (ROOT / rest[0]).is_file(), f"{name}: {rest[0]}"
        return
    words = tuple(rest[:2]) if tuple(rest[:2]) in COMMANDS else tuple(rest[:1])
    if words[0].startswith("-"):
        assert words[0] in ("--help", "--version", "-h")
        return
    assert words in COMMANDS, f"{name}: {line}"
    arguments, command = rest[len(words) :], COMMANDS[words]
    if not FOREIGN & set(arguments):
        # Click itself reads the line: wrong options, missing arguments and values out of range are errors.
        command.make_context(" ".join(words), list(arguments))


def test_make_bench_runs_what_can_be_run_without_arguments():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.search(r"^BENCHES := (.+)$", makefile, flags=re.MULTILINE)[1].split()
    assert len(named) > 5
    assert named[-1] == "tables", "the pages are written when everything is measured"
    for name in named:
        tree = ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8"))
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument":
                settings = {word.arg: word.value for word in call.keywords}
                assert "required" not in settings, f"{name}: {ast.unparse(call)}"
                assert ast.literal_eval(call.args[0]).startswith("-") or "nargs" in settings, (
                    f"{name}: {ast.unparse(call)}"
                )


def test_recipes_of_examples_are_shipped():
    shipped = {path.stem for path in (PACKAGE / "training" / "recipes").glob("*.yaml")}
    for name, line in LINES:
        for recipe in re.findall(r"passerby train (\S+)", line):
            assert recipe in shipped, f"{name}: {line}"


def test_every_recipe_tower_and_reader_is_described():
    recipes = {path.stem for path in (PACKAGE / "training" / "recipes").glob("*.yaml")}
    rows = re.findall(r"^\| `([\w-]+)` \|", sections(TRAINING)["Recipes"], flags=re.MULTILINE)
    assert set(rows) == recipes
    towers = set()
    for path in (PACKAGE / "models" / "towers").glob("*.py"):
        towers |= set(re.findall(r'^@register_(image|text)_tower\("(\w+)"\)', path.read_text("utf-8"), re.MULTILINE))
    rows = re.findall(r"^\| (image|text) \| `(\w+)` \|", sections(TRAINING)["Towers"], flags=re.MULTILINE)
    assert len(towers) > 5
    assert set(rows) == towers
    rows = re.findall(r"^\| `([\w-]+)` \|", sections(TEXTS[ROOT / "docs" / "datasets.md"])["Names"], flags=re.MULTILINE)
    assert set(rows) == set(READERS)


def test_the_plans_of_the_street_are_the_ones_described():
    from passerby.data.world.street import SIZES

    rows = re.findall(
        r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| (\d+)(?: in training, (\d+) else)? \| (\w+) \|$",
        TEXTS[ROOT / "docs" / "street.md"],
        flags=re.MULTILINE,
    )
    assert [row[0] for row in rows] == list(SIZES)
    for name, *people, views, test_views, size in rows:
        plan = SIZES[name]
        assert [int(count.replace(",", "")) for count in people] == [plan.train, plan.val, plan.test]
        assert [int(views), int(test_views or views)] == [plan.train_views, plan.test_views]
        assert size == (plan.size if isinstance(plan.size, str) else "x".join(map(str, plan.size)))


def test_every_key_of_a_recipe_is_described():
    from passerby.training.recipe import Recipe
    from passerby.training.tasks.dual_encoder_recipe import DualEncoderRecipe

    section = sections(TRAINING)["What a recipe says"]
    rows = dict(re.findall(r"^\| `?\(?(\w+)\)?`? \| (.+) \|$", section, flags=re.MULTILINE))
    plain = []
    assert set(Recipe.model_fields) <= set(DualEncoderRecipe.model_fields)
    for name, field in DualEncoderRecipe.model_fields.items():
        keys = getattr(field.annotation, "model_fields", None)
        if keys is None:
            plain.append(name)
        else:
            assert set(keys) <= set(re.findall(r"`(\w+)`", rows[name])), name
    assert plain == re.findall(r"`(\w+)`", rows["top"])


def test_every_key_and_objective_of_an_alignment_is_described():
    from passerby.training.recipe import OptimisationConfig, Recipe
    from passerby.training.tasks.alignment_recipe import AlignmentRecipe, ConsensusConfig, ObjectivesConfig

    section = sections(TRAINING)["Alignment"]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, flags=re.MULTILINE))
    for name, field in AlignmentRecipe.model_fields.items():
        if name in ("data", "model", "pictures", "captions", "optimisation"):
            keys = set(getattr(field.annotation, "model_fields", {}))
            keys -= set(OptimisationConfig.model_fields) if name == "optimisation" else set()
            assert keys <= set(re.findall(r"`(\w+)`", rows[name])), name
        else:
            assert name in Recipe.model_fields or name in rows, name
    assert set(ConsensusConfig.model_fields) <= set(re.findall(r"`(\w+)`", rows["consensus"]))
    own = {"weight", "branches"}
    for name, field in ObjectivesConfig.model_fields.items():
        options = next(kind for kind in field.annotation.__args__ if kind is not type(None)).model_fields
        assert set(options) - own <= set(re.findall(r"`(\w+)`", rows[name])), name


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(TEXTS[page])):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert file.is_relative_to(ROOT.resolve()), f"{page.name}: {target} leads out of the repository"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target} names no heading"


def test_every_page_is_reached_from_the_readme():
    reached = set(re.findall(r"\]\(([\w/-]+\.md)", TEXTS[ROOT / "README.md"]))
    assert {name for name in NAMES if name != "README.md"} <= reached


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_and_tests_that_are_named_exist(page):
    text = TEXTS[page]
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text):
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", source, flags=re.MULTILINE), f"{page.name}: {file}::{name}"
    for file in re.findall(r"`((?:tests|benchmarks|src|docs)/[\w./-]+\.\w+)`", text):
        assert (ROOT / file).is_file(), f"{page.name}: {file}"


def test_every_promise_names_its_test():
    promises = [row for row in TEXTS[ROOT / "SECURITY.md"].splitlines() if row.startswith("| ") and "---" not in row]
    assert len(promises) > 20
    for row in promises:
        assert row == "| promise | proof |" or "::test_" in row, row


def test_python_examples_are_python_and_name_what_exists():
    blocks = list(examples("python"))
    assert len(blocks) > 2
    for name, block in blocks:
        for node in ast.walk(ast.parse(block, name)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "passerby":
                assert node.attr in passerby.__all__, f"{name}: passerby.{node.attr}"
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), f"{name}: {node.module}"


def test_the_version_has_its_entry():
    assert f"## {passerby.__version__}" in TEXTS[ROOT / "CHANGELOG.md"]


def test_figures_are_those_of_the_files(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # where tables.py finds study_tables.py
    specification = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    tables = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tables)
    late = sorted(path.name for path in tables.outdated())
    assert not late, f"run: python benchmarks/tables.py (out of date: {', '.join(late)})"


def test_figures_stay_out_of_the_prose():
    """Percentages and rates are measured, so they come from a file; 95 % is the level of an interval."""
    measured = re.compile(r"\b(?!95 %)\d[\d.,]* ?(?:%|per cent|images/s|pictures/s|times as fast)")
    for page, text in TEXTS.items():
        prose = re.sub(r"<!-- figures:.*?<!-- end figures -->", "", without_code(text), flags=re.DOTALL)
        assert not measured.findall(prose), f"{page.name}: {measured.findall(prose)}"
