"""A small set, and the script that makes its databases."""

import sys

import pytest

from swwae.base import program
from swwae.commands import create_fashion_mnist
from tests.helpers.fashion_mnist import SCRIPT, write_set


@pytest.fixture
def create(monkeypatch, capsys):
    """Runs the script here; returns its stdout, or where it fails its one sentence."""

    def run(*arguments, expect=0):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            program.run(create_fashion_mnist.main)
        stdout, stderr = capsys.readouterr()
        assert end.value.code == expect, stderr
        if expect == 0:
            assert stderr == ""
            return stdout
        assert stderr.startswith("create.py: ") and stderr.count("\n") == 1
        return stderr

    return run


@pytest.fixture
def source(tmp_path):
    write_set(tmp_path / "idx")
    return tmp_path / "idx"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "out"
