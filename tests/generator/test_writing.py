"""Files come all or none: where the disk refuses, a person interrupts, or several
generators write at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from generator.__main__ import main
from swwae.base.project import ROOT
from tests.helpers.generating import generate, tree


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path, monkeypatch, capsys):
    """The last file cannot be written: the earlier ones go again."""
    real, calls = Path.write_text, []

    def refuse(path, *given, **options):
        calls.append(path)
        if len(calls) == 5:
            path.touch()
            raise OSError(28, "No space left on device", "deploy.prototxt")
        return real(path, *given, **options)

    monkeypatch.setattr(Path, "write_text", refuse)
    out = tmp_path / "out"
    assert main(["vgg8", "--variant", "sae-all", "--out", str(out)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert len(calls) == 5
    assert not out.exists()


@pytest.mark.parametrize("place", [0, 3, 10])
@pytest.mark.parametrize("step", ["mkdir", "write_text", "chmod"])
def test_an_interruption_leaves_nothing(step, place, tmp_path, monkeypatch, capsys):
    """Wherever it comes, also right behind what makes a folder or a file."""
    home = os if step == "chmod" else Path
    real, calls = getattr(home, step), []

    def interrupted(path, *given, **options):
        real(path, *given, **options)
        calls.append(path)
        if len(calls) == place + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(home, step, interrupted)
    out = tmp_path / "out"
    code = main(["vgg8", "--variant", "all", "--out", str(out)])
    assert (code, len(calls)) == (130, place + 1)
    assert not out.exists()


CTRL_C_AT_EVERY_FILE = """
import os, signal, sys
from pathlib import Path
from generator.__main__ import main

real = Path.replace

def press_ctrl_c(path, target):
    os.kill(os.getpid(), signal.SIGINT)
    return real(path, target)

Path.replace = press_ctrl_c
sys.exit(main(["vgg8", "--variant", "sae-all", "--out", sys.argv[1]]))
"""


def test_ctrl_c_waits_until_all_files_have_their_names(tmp_path):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    generate("vgg8", "--variant", "sae-all", "--out", whole)
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C_AT_EVERY_FILE, stopped],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    contents = [
        {path.relative_to(out): text for path, text in tree(out).items()}
        for out in (stopped, whole)
    ]
    assert contents[0] == contents[1]


def test_what_a_kill_left_is_replaced(tmp_path):
    generate("vgg8", "--variant", "sae-all", "--out", tmp_path)
    expected = tree(tmp_path)
    left = tmp_path / "models/vgg8/sae-all/.new-deploy.prototxt"
    left.write_text("half")
    generate("vgg8", "--variant", "sae-all", "--out", tmp_path)
    assert tree(tmp_path) == expected


def test_generators_beside_each_other_all_get_into_the_manifest(tmp_path):
    out = tmp_path / "out"
    names = ["baseline", "sae-first", "sae-all", "swwae-first", "swwae-all", "ladder"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "generator", "vgg8", "--variant", name]
            + ["--out", str(out)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        for name in names
    ]
    assert [process.wait() for process in started] == [0] * len(names)
    made = json.loads((out / "models/vgg8/network.json").read_text())["made"]
    assert {*names} <= {entry["variant"] for entry in made}
