"""The commands that make databases, run here."""

import pytest

from swwae.commands import create_cifar, create_folder, create_stl10, create_svhn
from tests.helpers.commands import run_command

COMMANDS = {
    "cifar": create_cifar,
    "svhn": create_svhn,
    "stl10": create_stl10,
    "folder": create_folder,
}


@pytest.fixture
def create(monkeypatch, capsys):
    """Runs a set's command; returns its stdout, or where it fails its one sentence."""
    run = run_command(monkeypatch, capsys, "create.py")
    return lambda name, *arguments, **expected: run(
        COMMANDS[name], *arguments, **expected
    )
