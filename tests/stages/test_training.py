"""How often losses are displayed, and sentences on what ended a training."""

import shutil
import signal
from types import SimpleNamespace

import pytest

from generator.errors import UserError
from swwae.base import project
from swwae.engine import process
from swwae.runs import run
from swwae.stages.faults import caffe_fault
from swwae.stages.solver import display_interval
from swwae.stages.sources import require_room


@pytest.mark.parametrize(
    ("wanted", "iterations", "display"),
    [(20, 469, 20), (20, 100, 10), (20, 15, 1), (20, 3, 1), (0, 1000, 100), (2, 8, 1)],
)
def test_short_runs_display_often_enough(wanted, iterations, display):
    assert display_interval(wanted, iterations) == display


def test_the_last_updates_loss_is_displayed_where_a_divisor_is_near():
    for iterations in (1000, 610, 980):
        assert iterations % display_interval(19, iterations) == 0


def test_without_room_for_a_snapshot_nothing_begins(tmp_path, monkeypatch):
    shapes = {"conv1": [(10, 5, 5, 100), (100,)], "fc2": [(1000, 1000)]}
    numbers = 25_100 + 1_000_000
    free = 4 * numbers
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    require_room(tmp_path, shapes)
    free -= 1
    with pytest.raises(UserError, match="takes at least 4.1 MB, and 4.1 MB are free"):
        require_room(tmp_path, shapes)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (process.Outcome(code=-signal.SIGKILL), "memory"),
        (process.Outcome(code=-signal.SIGSEGV), "SIGSEGV"),
        (process.Outcome(code=5), "exit code 5"),
        (process.Outcome(code=-6, fatal="Check failed: x "), "Check failed: x."),
        (
            process.Outcome(code=1, fatal="Cannot write a: no space (b)."),
            "Caffe stopped: Cannot write a: no space (b). The log",
        ),
    ],
)
def test_sentences_for_what_ended_it(tmp_path, monkeypatch, outcome, words):
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(project, "RUNS", tmp_path / "runs")
    stage = run.Run("vgg16", "swwae-all", 4)
    stage.folder.mkdir(parents=True)
    fault = caffe_fault(stage, outcome)
    assert words in fault
    assert "runs/vgg16/swwae-all/stage4/train.log" in fault
