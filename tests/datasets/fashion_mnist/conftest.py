"""A small set, and the script that makes its databases."""

from functools import partial

import pytest

from swwae.commands import create_fashion_mnist
from tests.helpers.commands import run_command
from tests.helpers.fashion_mnist import SCRIPT, write_set


@pytest.fixture
def create(monkeypatch, capsys):
    """Runs the script here; returns its stdout, or where it fails its one sentence."""
    return partial(run_command(monkeypatch, capsys, str(SCRIPT)), create_fashion_mnist)


@pytest.fixture
def source(tmp_path):
    write_set(tmp_path / "idx")
    return tmp_path / "idx"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "out"
