"""The commands that make databases, run in this process."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from swwae.base import program


def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, script: str
) -> Callable[..., str]:
    """Returns what runs a command as its script does.

    It takes a command's module, arguments, and the exit code to expect; it returns the
    command's stdout, or where that fails its one sentence.
    """

    def run(command: ModuleType, *arguments: object, expect: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            program.run(command.main)
        stdout, stderr = capsys.readouterr()
        assert end.value.code == expect, stderr
        if expect == 0:
            assert stderr == ""
            return stdout
        assert stderr.startswith("create.py: ") and stderr.count("\n") == 1
        return stderr

    return run
