"""The script of ILSVRC's databases, run in the tests' own process."""

import signal
import sys

import pytest

from swwae.base import program
from swwae.commands import create_ilsvrc12
from tests.helpers.ilsvrc12 import SCRIPT


@pytest.fixture
def create(monkeypatch, capsys, tmp_path):
    """Runs the script here; returns its stdout, or where it fails its one sentence."""

    def run(*arguments, expect=0, jobs=1):
        jobs = ["--jobs", str(jobs)]
        out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
        words = [str(SCRIPT), *map(str, arguments), *out, *jobs]
        monkeypatch.setattr(sys, "argv", words)
        old = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as end:
                program.run(create_ilsvrc12.main)
        finally:
            signal.signal(signal.SIGTERM, old)
        stdout, stderr = capsys.readouterr()
        assert end.value.code == expect, stderr + stdout
        if expect == 0:
            assert stderr == ""
            return stdout
        assert stderr.startswith("create.py: ") and stderr.count("\n") == 1
        return stderr

    return run
