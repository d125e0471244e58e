"""The log's parser, on lines as Caffe writes them."""

import math

import pytest

from swwae.engine.cards import Card
from swwae.engine.log import (
    BeginTest,
    Fatal,
    Iteration,
    LearningRate,
    Output,
    Snapshot,
    Stopped,
    parse_line,
    read_lines,
)

PREFIX = "I1124 06:20:42.123456 12345 solver.cpp:239] "


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (
            "Iteration 100 (12.3 iter/s, 8.1s/100 iters), loss = 0.5",
            Iteration(100, 0.5, 12.3),
        ),
        (
            "Iteration 0 (-1.5e+10 iter/s, 0s/1 iters), loss = -nan",
            Iteration(0, math.nan, -1.5e10),
        ),
        ("Iteration 8, loss = inf", Iteration(8, math.inf, None)),
        ("Iteration 8, lr = 3e-09", LearningRate(8, 3e-9)),
        ("Iteration 8, Testing net (#0)", BeginTest(8)),
        (
            "    Train net output #0: dec:loss@conv1_2 = 12.5 (* 1e-12 = 1.2e-11 loss)",
            Output("Train", 0, "dec:loss@conv1_2", 12.5, 1e-12),
        ),
        (
            "    Test net output #11: accuracy/top5 = 0.875",
            Output("Test", 11, "accuracy/top5", 0.875, None),
        ),
        (
            "    Train net output #1: a = 1 (* x) = nan (* 1 = nan loss)",
            Output("Train", 1, "a = 1 (* x)", math.nan, 1.0),
        ),
        (
            "Wrote the whole of runs/a b/snapshot_iter_4.caffemodel",
            Snapshot("runs/a b/snapshot_iter_4.caffemodel"),
        ),
        ("Snapshotting to binary proto file x_iter_4.caffemodel", None),
        ("Optimization stopped early.", Stopped()),
        ("GPU 1: Tesla K40c", Card(1, "Tesla K40c")),
        ("GPU mode is off", None),
        ("Restarting data prefetching from start.", None),
        ("Iteration 700, loss = 1.2.3", None),
        ("Iteration 700, loss = .", None),
        ("Iteration 700, loss = .5", Iteration(700, 0.5, None)),
        ("", None),
    ],
)
def test_parse_line(text, event):
    # the text of events, for a nan is not equal to itself
    assert repr(parse_line(PREFIX + text + "\n")) == repr(event)


def test_only_caffes_own_lines_are_events():
    assert parse_line("Iteration 100 (1 iter/s, 1s/1 iters), loss = 0.5") is None
    line = "F1124 06:20:42.123456    77 data.cpp:9] Check failed: a == b (1 vs. 2) so"
    assert parse_line(line) == Fatal("Check failed: a == b (1 vs. 2) so")


def block(iteration: int, loss: float, names=("loss",)) -> list[str]:
    return [
        f"{PREFIX}Iteration {iteration} (2 iter/s, 1s/2 iters), loss = {loss}",
        *(
            f"{PREFIX}    Train net output #{i}: {name} = {loss} (* 0.5 = 1 loss)"
            for i, name in enumerate(names)
        ),
        f"{PREFIX}Iteration {iteration}, lr = 0.1",
    ]


def test_a_resumed_session_replaces_what_it_does_again():
    test = [f"{PREFIX}Iteration 4, Testing net (#0)"]
    lines = [
        "==== 2026-11-24T06:20:42+00:00 caffe train",
        *block(0, 9.0),
        *block(2, 8.0),
        *test,
        f"{PREFIX}    Test net output #0: accuracy = 0.25",
        *block(4, 7.0),
        *block(6, 6.0),
        "==== 2026-11-24T06:30:42+00:00 caffe train --snapshot=x_iter_4",
        *test,
        f"{PREFIX}    Test net output #0: accuracy = 0.5",
        *block(4, 5.0),
    ]
    log = read_lines(lines)
    iterations, values = log.train["loss"]
    assert iterations.tolist() == [0, 2, 4]
    assert values.tolist() == [9, 8, 5]
    assert [s.tolist() for s in log.loss] == [[0, 2, 4], [9, 8, 5]]
    assert [s.tolist() for s in log.learning_rate] == [[0, 2, 4], [0.1] * 3]
    assert [s.tolist() for s in log.test["accuracy"]] == [[4], [0.5]]
    assert log.weights == {"loss": 0.5}


def test_values_of_one_blob_are_numbered():
    log = read_lines(block(0, 1.5, names=("x", "x", "x[2]")))
    assert set(log.train) == {"x", "x #2", "x[2]"}


def test_an_empty_log():
    log = read_lines([])
    assert len(log.loss[0]) == 0 and log.train == {} and log.test == {}


def test_numbers_that_nobody_counts_to_are_none_of_an_event():
    long = "9" * 5000
    for line in (
        f"Iteration {long}, lr = 0.1",
        f"Iteration {'9' * 19} (1 iter/s, 1s/1 iters), loss = 1",
        f"Iteration {long}, Testing net (#0)",
        f"    Train net output #{long}: loss = 1",
        f"GPU {long}: NVIDIA H200",
    ):
        assert parse_line(PREFIX + line) is None
    read_lines(block(10**18 - 1, 1.0))
