"""The plan of the house held against the code: who imports whom, how large things are, what every public name has.

Everything is read from the syntax tree, so that nothing has to be imported; only the last tests start a process, in
which torch cannot be imported.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "passerby"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}

#: The floor of each room; a room imports itself and what lies below it.
FLOORS = {
    "errors": 0,
    "data": 1,
    "metrics": 1,
    "losses": 1,
    "nn": 1,
    "models": 2,
    "retriever": 3,
    "evaluation": 3,
    "training": 4,
    "gallery": 4,
    "ingest": 5,
    "export": 5,
    "studies": 6,
    "serve": 7,
    "cli": 8,
}
#: The package's own front door, which opens to `load` and `Gallery`, and the module that starts the command line.
OUTSIDE = {"__init__", "__main__"}

LONGEST_FILE, LONGEST_FUNCTION = 400, 80

#: Modules that no test names, and through what they are tested.
TESTED_THROUGH_OTHERS = {
    "passerby.cli.export": "the command line, by `passerby export`",
    "passerby.cli.terminal": "every command that shows progress",
    "passerby.data.world.belongings": "render, whose masks show each part",
    "passerby.data.world.garments": "render, whose masks show each part",
    "passerby.data.world.head": "render, whose masks show each part",
    "passerby.evaluation.judging": "evaluate, whose figures are held against loops",
    "passerby.ingest.frames": "watching, over films, folders and what is none",
    "passerby.models.clip_timm": "models of other libraries, MobileCLIP among them",
    "passerby.models.towers.stored_text": "frozen text, whose losses equal those of the tower itself",
    "passerby.training.kept_arrays": "frozen text, whose vectors are computed once",
    "passerby.models.model_card": "checkpoint, which writes the card",
    "passerby.models.weight_files": "models of other libraries, damaged ones too",
}


def room_of(dotted: str) -> str:
    """The room of a module: ``passerby.data.images`` -> ``data``."""
    return dotted.split(".")[1]


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imports_of(tree: ast.Module) -> set[str]:
    """Modules of passerby that a module imports anywhere, also inside functions and for types alone."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "passerby"}


def functions_of(tree: ast.AST):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def public_of(body: list[ast.stmt], prefix: str = ""):
    """Public functions, classes and methods with their names, a class before its methods."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_of(node.body, f"{node.name}.")


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_room_imports_only_what_lies_below_it(path):
    room = room_of(dotted(path))
    if room in OUTSIDE:
        return
    for name in imports_of(TREES[path]):
        if name in ("passerby", "passerby.__version__"):
            continue
        other = room_of(name)
        assert other in FLOORS, f"{name} is in no room of the plan"
        assert other == room or FLOORS[other] < FLOORS[room], f"{path.name} in {room} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "data" / "world").glob("*.py")), ids=lambda path: path.name)
def test_the_street_knows_nothing_but_data(path):
    assert {room_of(name) for name in imports_of(TREES[path]) if name != "passerby.__version__"} <= {"data", "errors"}


def test_the_plan_names_every_module():
    """By its name, a pattern such as `profile*.py`, or the folder that it is in; of the command line only the room."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d \| `(\w+)(?:/|\.py)` \| (.+) \|$", page, re.MULTILINE)
    assert {room for room, _ in rows} == set(FLOORS)
    unnamed = []
    for room, described in rows:
        names = re.findall(r"`([\w./*]+)`", described)
        patterns = [f"{name}*" if name.endswith("/") else name for name in names]
        for path in (PACKAGE / room).rglob("*.py") if room != "cli" else ():
            inside = path.relative_to(PACKAGE / room).as_posix()
            if path.name != "__init__.py" and not any(fnmatch(inside, pattern) for pattern in patterns):
                unnamed.append(f"{room}/{inside}")
    assert not unnamed


def test_every_module_lies_in_a_room_of_the_plan():
    assert {room_of(dotted(path)) for path in MODULES} <= set(FLOORS) | OUTSIDE


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_files_and_functions_tell_one_story(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE, f"{lines} lines are two stories"
    for function in functions_of(TREES[path]):
        length = function.end_lineno - function.lineno + 1
        assert length <= LONGEST_FUNCTION, f"{function.name} has {length} lines"
    assert not {"utils", "util", "helpers", "common", "misc", "manager", "tools"} & set(path.stem.split("_"))


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_nothing_asserts_prints_unpickles_or_runs_what_it_reads(path):
    for node in ast.walk(TREES[path]):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: assert vanishes under -O; raise an error of ours"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        line = f"line {node.lineno}: {called}"
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert called not in ("print", "eval", "exec"), line
        assert called not in ("yaml.load", "yaml.full_load", "yaml.unsafe_load"), f"{line}: use yaml.safe_load"
        assert not re.fullmatch(r"(pickle|cPickle|dill|joblib|marshal|shelve)\.\w+", called), (
            f"{line} runs what it reads"
        )
        if called == "torch.load":
            assert options.get("weights_only") == "True", f"{line}: without weights_only=True it runs what it reads"
        if called == "np.load":
            assert options.get("allow_pickle", "False") == "False", line


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_everything_public_is_described_and_typed(path):
    assert ast.get_docstring(TREES[path]), "a file opens with its story"
    for name, node in public_of(TREES[path].body):
        assert ast.get_docstring(node), f"{name} has no docstring"
        if isinstance(node, ast.ClassDef):
            continue
        assert node.returns is not None, f"{name} does not say what it returns"
        given = node.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        for argument in filter(None, named):
            assert argument.annotation is not None or argument.arg in ("self", "cls"), f"{name}({argument.arg})"


# -- the tree as git sees it ----------------------------------------------------------------------------------------


def tracked_texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("no git checkout")
    binary = {".png", ".jpg", ".webp", ".onnx", ".safetensors", ".gz", ".zip"}
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in binary]


#: Folders of one machine, and places that packages come from; the pieces are joined so that this page holds none.
_MACHINE = re.compile(r"(?<![\w.$)}~-])/(?:" + "|".join(["work", "home", "root", "Users", "mnt", "tmp"]) + r")/[\w.-]+")
_INDEX = re.compile(
    r"--(?:extra-)?index-url|--find-links|trusted-host|://[^\s\"')]*/simple\b|\b(?:\d{1,3}\.){3}\d{1,3}:\d+"
)


def test_no_tracked_text_names_a_machine_or_a_package_index():
    for path in tracked_texts():
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for pattern in (_MACHINE, _INDEX):
                found = pattern.search(line)
                assert not found, f"{path.relative_to(ROOT)}:{number} names {found[0]}"


def test_constraints_are_plain_versions():
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert not line or line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[\w.!+]+( *; .*)?", line), line


# -- tests mirror the source ----------------------------------------------------------------------------------------


def names_in(tree: ast.Module) -> set[str]:
    """Every name and attribute that a file uses, and every module that it imports or patches."""
    used = set(imports_of(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.alias):
            used.add(node.id if isinstance(node, ast.Name) else node.name)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("passerby."):
            used.add(node.value)
    return used


def test_every_module_is_imported_or_called_by_name_in_a_test():
    """A module counts as tested when a test imports it or uses one of its public functions by name."""
    tested = set()
    for path in set((ROOT / "tests").rglob("*.py")) - {Path(__file__)}:
        tested |= names_in(ast.parse(path.read_text(encoding="utf-8")))
    missing = set()
    for path in MODULES:
        own = {name for name, node in public_of(TREES[path].body) if not isinstance(node, ast.ClassDef)}
        own = {name.split(".")[-1] for name in own}
        home = dotted(path)
        imported = any(name == home or name.startswith(f"{home}.") for name in tested)
        if own and path.stem not in OUTSIDE and not imported and not own & tested:
            missing.add(home)
    assert missing == set(TESTED_THROUGH_OTHERS)


def test_folders_of_tests_are_rooms():
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.relative_to(ROOT / "tests").parent
        assert (PACKAGE / folder).is_dir(), f"{path.name} lies in {folder}, which is no room"


# -- searching needs no torch ---------------------------------------------------------------------------------------

_BLOCK = """
import importlib, importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm", "accelerate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def _light_modules() -> list[str]:
    light = ["passerby", "passerby.retriever", "passerby.models.checkpoint", "passerby.models.preprocessing"]
    rooms = ("data", "metrics", "evaluation", "gallery", "cli", "ingest", "serve")
    return light + [dotted(path) for path in MODULES if room_of(dotted(path)) in rooms]


def test_searching_rooms_work_where_torch_cannot_be_imported():
    code = _BLOCK + (
        f"for name in {_light_modules()!r}:\n"
        "    importlib.import_module(name)\n"
        "print(sorted({'torch', 'matplotlib', 'transformers', 'openvino'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_the_block_blocks():
    done = subprocess.run([sys.executable, "-c", _BLOCK + "import torch"], capture_output=True, text=True, check=False)
    assert "No module named 'torch'" in done.stderr


def test_test_modules_have_names_of_their_own():
    """The folders of the tests are no packages, so pytest cannot tell two modules of one name apart."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []
