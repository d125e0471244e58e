"""The watch over `caffe train`, with a program that says what Caffe would."""

import io
import signal
import sys
import time
from pathlib import Path

import caffe_train
import pytest
import runs
from progress import Progress

PREFIX = "I1124 06:20:42.123456 12345 solver.cpp:239] "
FINITE = [
    f"{PREFIX}Iteration 0 (0 iter/s, 0s/1 iters), loss = 2.5",
    f"{PREFIX}    Train net output #0: dec:loss@conv1_2 = 5 (* 0.5 = 2.5 loss)",
    f"{PREFIX}Iteration 0, lr = 0.1",
]
NOT_FINITE = [
    f"{PREFIX}Iteration 20 (1 iter/s, 20s/20 iters), loss = nan",
    f"{PREFIX}    Train net output #0: accuracy = inf",
    f"{PREFIX}    Train net output #1: dec:loss@conv1_2 = -nan (* 0.5 = -nan loss)",
    f"{PREFIX}Iteration 20, lr = 0.1",
]


def train(tmp_path: Path, lines: list[str], then: str) -> caffe_train.Outcome:
    program = f"import os, time\nfor line in {lines!r}: print(line, flush=True)\n{then}"
    return caffe_train.train(
        [sys.executable, "-c", program],
        tmp_path / "train.log",
        Progress("a stage", 100, None, io.StringIO()),
        lambda path: None,
    )


def test_a_loss_that_is_not_finite_is_named_and_the_program_killed(tmp_path):
    start = time.monotonic()
    outcome = train(tmp_path, FINITE + NOT_FINITE, "time.sleep(60)")
    assert time.monotonic() - start < 30
    name, value, iteration = outcome.not_finite
    assert (name, iteration) == ("dec:loss@conv1_2", 20)
    assert value != value
    assert outcome.last == 0
    assert outcome.code == -signal.SIGKILL


def test_losses_of_a_test_are_watched_too(tmp_path):
    lines = [
        f"{PREFIX}Iteration 7, Testing net (#0)",
        f"{PREFIX}    Test net output #0: loss = inf (* 1 = inf loss)",
        f"{PREFIX}Iteration 8 (1 iter/s, 1s/1 iters), loss = 2",
    ]
    outcome = train(tmp_path, lines, "time.sleep(60)")
    assert outcome.not_finite == ("loss", float("inf"), 7)


def test_a_fatal_line_is_told(tmp_path):
    fatal = "F1124 06:20:42.123456    77 data.cpp:9] Check failed: a == b (1 vs. 2)"
    outcome = train(tmp_path, [*FINITE, fatal], "os.abort()")
    assert outcome.fatal == "Check failed: a == b (1 vs. 2)"
    assert outcome.code == -signal.SIGABRT
    assert not outcome.stopped


def test_the_log_is_kept_over_sessions(tmp_path):
    train(tmp_path, FINITE, "")
    outcome = train(tmp_path, ["whatever Caffe says"], "raise SystemExit(3)")
    assert outcome.code == 3
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line for line in lines if line in FINITE] == FINITE
    assert lines[-1] == "whatever Caffe says"
    assert sum(line.startswith("==== ") for line in lines) == 2


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (caffe_train.Outcome(code=-signal.SIGKILL), "memory"),
        (caffe_train.Outcome(code=-signal.SIGSEGV), "SIGSEGV"),
        (caffe_train.Outcome(code=5), "exit code 5"),
        (caffe_train.Outcome(code=-6, fatal="Check failed: x "), "Check failed: x."),
        (
            caffe_train.Outcome(code=-6, fatal="proto.SerializeToOstream(&output)"),
            "is the disk full",
        ),
    ],
)
def test_sentences_for_what_ended_it(tmp_path, monkeypatch, outcome, words):
    pytest.importorskip("caffe", reason="the patched Caffe is not built")
    from train import fault_of

    monkeypatch.setattr(runs, "ROOT", tmp_path)
    stage = runs.Run("vgg16", "swwae-all", 4)
    stage.folder.mkdir(parents=True)
    fault = fault_of(stage, outcome)
    assert words in fault
    assert "runs/vgg16/swwae-all/stage4/train.log" in fault


def test_no_fault_where_it_ended_well(tmp_path):
    assert train(tmp_path, FINITE, "") == caffe_train.Outcome(
        last=0, seconds=pytest.approx(0, abs=30)
    )
