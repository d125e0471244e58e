"""The commands that make databases, run here."""

import sys

import pytest

from swwae.base import program
from swwae.commands import create_cifar, create_folder, create_stl10, create_svhn

COMMANDS = {
    "cifar": create_cifar,
    "svhn": create_svhn,
    "stl10": create_stl10,
    "folder": create_folder,
}


@pytest.fixture
def create(monkeypatch, capsys):
    """Runs a set's command; returns its stdout, or where it fails its one sentence."""

    def run(name, *arguments, expect=0):
        monkeypatch.setattr(sys, "argv", ["create.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            program.run(COMMANDS[name].main)
        stdout, stderr = capsys.readouterr()
        assert end.value.code == expect, stderr
        if expect == 0:
            assert stderr == ""
            return stdout
        assert stderr.startswith("create.py: ") and stderr.count("\n") == 1
        return stderr

    return run
