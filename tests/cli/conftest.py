"""Commands as a user runs them, in this process: arguments in; exit code, standard output and standard error out."""

import pytest

from passerby.cli import app


@pytest.fixture
def call(capsys):
    def command(*arguments):
        with pytest.raises(SystemExit) as end:
            app.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return command
