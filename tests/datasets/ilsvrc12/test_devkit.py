"""ILSVRC's development kit, where it is damaged."""

import faulthandler
import os
import signal

import pytest
import scipy.io

from generator.errors import UserError
from swwae.datasets import ilsvrc_devkit
from tests.helpers.ilsvrc12 import WNIDS, write_devkit


def test_classes_and_labels(tmp_path):
    found = ilsvrc_devkit.read(write_devkit(tmp_path, [1, 2, 3, 4]))
    assert found.classes == WNIDS
    assert found.labels.tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", bytes(2000)])
def test_a_table_that_is_none_is_a_sentence(content, tmp_path):
    path = write_devkit(tmp_path, [1])
    (path / "data/meta.mat").write_bytes(content)
    with pytest.raises(UserError, match="data/meta.mat is not the devkit's table"):
        ilsvrc_devkit.read(path)


def test_a_table_that_scipy_dies_of_is_a_sentence(tmp_path, monkeypatch):
    """As it did of some that were damaged at random (SIGSEGV)."""
    path = write_devkit(tmp_path, [1])
    me = os.getpid()

    def die(*_: object, **__: object) -> None:
        assert os.getpid() != me
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)

    monkeypatch.setattr(scipy.io, "loadmat", die)
    with pytest.raises(UserError, match="it is damaged.*fetch it again"):
        ilsvrc_devkit.read(path)
