"""The curves of a report: what it reads of a log, and how it thins it."""

import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from generator.errors import UserError
from swwae.engine.log import SEPARATOR
from swwae.report.curves import MOST_POINTS, curves, thinned
from swwae.report.stages import collect
from swwae.runs.run import Run
from tests.helpers.reported import PREFIX, log_lines, write


def test_a_resumed_session_is_as_far_as_it_has_displayed(tmp_path):
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    with run.locked():
        write(run, "running", iterations=400, max_iter=1000)
        began = datetime.now(UTC).isoformat()
        old = log_lines(400, 2) + log_lines(640, 2)
        for displayed, reached in (([], 400), ([400, 420], 420)):
            lines = "".join(log_lines(iteration, 2) for iteration in displayed)
            run.log.write_text(f"{old}{SEPARATOR}{began} caffe train\n{lines}")
            (stage,) = collect([tmp_path / "vgg8/baseline"]).stages
            assert stage.iterations == reached


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    log = tmp_path / "train.log"
    log.write_text(log_lines(0, 2.5) + log_lines(20, 153.2).partition("53.2")[0])
    found = curves(log)
    assert (found.iteration, found.series[0]["y"]) == (0, [2.5])


def test_a_session_without_a_zone_or_with_an_endless_rate(tmp_path):
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    with run.locked():
        write(run, "running", max_iter=10**400)
        began = (datetime.now() - timedelta(minutes=5)).isoformat()
        lines = "".join(log_lines(i, 2, rate) for i, rate in ((0, 1), (20, math.inf)))
        run.log.write_text(f"{SEPARATOR}{began} caffe train\n{lines}")
        (stage,) = collect([tmp_path / "vgg8/baseline"]).stages
        assert stage.seconds == pytest.approx(300, abs=30)
        assert stage.curves.rate is None and stage.seconds_left is None


def test_a_session_that_began_after_the_clock_was_set_back(tmp_path):
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    with run.locked():
        write(run, "running", max_iter=1000, seconds=60.0)
        began = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        lines = "".join(log_lines(i, 2, rate) for i, rate in ((0, 1), (20, -5)))
        run.log.write_text(f"{SEPARATOR}{began} caffe train\n{lines}")
        (stage,) = collect([tmp_path / "vgg8/baseline"]).stages
        assert stage.seconds == 60.0
        assert stage.iterations == 20 and stage.seconds_left is None


def test_a_damaged_stage_is_named_and_the_others_are_shown(tmp_path, swwae):
    (swwae[1].folder / "status.json").write_text("[" * 200_000)
    (swwae[2].folder / "status.json").unlink()
    (swwae[2].folder / "status.json").mkdir()
    found = collect([tmp_path / "vgg8/swwae-all"])
    assert [stage.run for stage in found.stages] == [swwae[0], *swwae[3:]]
    assert len(found.notices) == 2
    for run, notice in zip(swwae[1:3], found.notices, strict=True):
        assert re.search(f"{run.folder}/status.json (is damaged|cannot be)", notice)
        assert f"run_stage.sh {run.stage} " in notice


def test_series_are_thinned_evenly_with_both_ends():
    x = np.arange(5000)
    kept, values = thinned((x, x / 2))
    assert len(kept) == MOST_POINTS and (kept[0], kept[-1]) == (0, 4999)
    assert set(np.diff(kept)) <= {8, 9}
    np.testing.assert_array_equal(values, kept / 2)


def test_curves_of_a_log(tmp_path):
    log = tmp_path / "train.log"
    log.write_text(
        log_lines(0, 2.5)
        + log_lines(10, "nan")
        + f"{PREFIX}Iteration 10, Testing net (#0)\n"
        + f"{PREFIX}    Test net output #0: accuracy = 0.5\n"
    )
    found = {(each["name"], each["phase"]): each for each in curves(log).series}
    assert found["total loss", "training"]["x"] == [0, 10]
    assert found["loss", "training"]["y"] == [2.5, None]
    assert found["accuracy", "test"] == {
        "name": "accuracy",
        "phase": "test",
        "x": [10],
        "y": [0.5],
    }
    assert curves(tmp_path / "none").series == ()
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        curves(tmp_path)
