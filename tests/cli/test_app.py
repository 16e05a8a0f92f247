"""The command line as a whole: fast help, clear failures, exit codes."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time

import pytest
import typer

from passerby import __version__
from passerby.cli import app, lazy, study


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "passerby", *arguments], capture_output=True, text=True, check=False, **options
    )


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        app.main(list(arguments))
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


def test_help_lists_every_command_and_each_exists():
    printed = run("--help")
    assert printed.returncode == 0
    for name, line in app.COMMANDS.items():
        assert f"  {name} " in printed.stdout
        assert line.split(";")[0] in " ".join(printed.stdout.split())
        assert importlib.util.find_spec(f"passerby.cli.{name}"), name


_MODULES = 340  # of a command's own help; about 270 are loaded, half of them by the parser of the command line
HEAVY = ("numpy", "torch", "PIL", "rich.console", "onnxruntime", "openvino", "qdrant_edge", "passerby.gallery")


@pytest.mark.parametrize("name", ["", *app.COMMANDS])
def test_help_is_fast_because_it_imports_little(name):
    """Counted and not timed, since the clock belongs to whatever else runs here: imports are all that help costs."""
    code = (
        "import sys\nfrom passerby.cli.app import main\n"
        f"try:\n    main({[*filter(None, [name]), '--help']})\nexcept SystemExit:\n"
        f"    sys.stderr.write(f\"{{len(sys.modules)}} {{' '.join(set({HEAVY}) & set(sys.modules))}}\")"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, _, heavy = printed.stderr.partition(" ")
    assert printed.stdout.startswith(f"Usage: passerby {name}")
    assert "completion" not in printed.stdout
    assert heavy == ""
    assert int(count) < (_MODULES if name else 200)


def test_groups_know_their_members_by_name():
    for application in (app._application, study.command):
        group = typer.main.get_command(application)
        assert isinstance(group, lazy.LazyGroup)
        assert group.list_commands(None) == list(group.members)
        assert group.get_command(None, "--fnord") is None


def test_version(capsys):
    assert call(capsys, "--version") == (0, f"passerby {__version__}\n", "")


def test_wrong_use_is_two(capsys):
    for arguments, words in (
        (["serch", "x"], "there is no command 'serch'. Did you mean 'search'?"),
        (["search"], "Missing argument"),
        (["search", "g"], "give a text, --image, --like or several of them"),
        (["search", "g", "red", "--kk"], "No such option"),
        (["search", "g", "red", "-k", "many"], "Invalid value for '-k'"),
        (["gallery", "fnord"], "No such command"),
    ):
        code, out, err = call(capsys, *arguments)
        assert code == 2
        assert words in err
        assert out == ""


def test_failures_are_one_line_and_one(tmp_path):
    for arguments in (
        ["search", str(tmp_path / "none"), "red"],
        ["gallery", "info", str(tmp_path)],
        ["index", str(tmp_path / "none"), "--gallery", str(tmp_path / "g")],
    ):
        printed = run(*arguments)
        assert printed.returncode == 1
        assert printed.stderr.startswith("passerby: ")
        assert printed.stderr.count("\n") == 1
        assert printed.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_defects_show_their_traceback(monkeypatch):
    monkeypatch.setattr(lazy, "import_module", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        app.main(["search"])


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_is_130_without_a_traceback():
    code = (
        "import sys, time, types\nfrom passerby.cli import app, lazy\n"
        "def search():\n    print('in', flush=True)\n    time.sleep(60)\n"
        "lazy.import_module = lambda name: types.SimpleNamespace(search=search)\n"
        "app.main(['search'])"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Tests that run in a shell's background inherit an ignored interrupt.
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    process = subprocess.Popen([sys.executable, "-c", code], preexec_fn=heard, **pipes)
    assert process.stdout.readline() == "in\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.strip() == "passerby: stopped"
