"""The watch over `caffe train`, with a program that says what Caffe would."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swwae.base.locks import is_locked
from swwae.base.project import ROOT
from swwae.engine import process
from swwae.engine.log import NotFinite
from swwae.engine.progress import Progress
from tests.helpers.streams import Broken

PREFIX = "I1124 06:20:42.123456 12345 solver.cpp:239] "
FINITE = [
    f"{PREFIX}Iteration 0 (0 iter/s, 0s/1 iters), loss = 2.5",
    f"{PREFIX}    Train net output #0: dec:loss@conv1_2 = 5 (* 0.5 = 2.5 loss)",
    f"{PREFIX}Iteration 0, lr = 0.1",
]
LAST = f"{PREFIX}Wrote the whole of x.solverstate"


def train(
    tmp_path: Path, lines: list[str], then: str, progress: Progress | None = None
) -> process.Outcome:
    program = f"import os, time\nfor line in {lines!r}: print(line, flush=True)\n{then}"
    return process.train(
        [sys.executable, "-c", program],
        tmp_path / "train.log",
        progress or Progress("a stage", 100, None, io.StringIO()),
        lambda path: None,
    )


@pytest.mark.parametrize(
    "what",
    [
        "the loss dec:loss@conv1_2 is -nan at iteration 20. First of all, …",
        "the total loss is inf of the test at iteration 20.",
        "the weights of layer conv1 are no longer finite after iteration 20.",
    ],
)
@pytest.mark.parametrize("begin", ["E{}Training ends: ", "F{}"])
def test_numbers_that_are_not_finite_are_told(tmp_path, what, begin):
    line = begin.format(PREFIX[1:]) + what
    outcome = train(tmp_path, [*FINITE, line], "raise SystemExit(1)")
    assert outcome.not_finite == NotFinite(what, 20)
    assert outcome.fatal is None and outcome.code == 1


def test_a_last_snapshot_that_cannot_be_written_is_told(tmp_path):
    what = "the snapshot of iteration 4 is not there. Cannot write a: b (c)."
    outcome = train(tmp_path, [f"E{PREFIX[1:]}Training ends: {what}"], "os._exit(1)")
    assert outcome.fatal == what and outcome.not_finite is None


def test_what_training_goes_on_without_is_noted(tmp_path):
    said = io.StringIO()
    record = (
        "data/x_lmdb: record 00000005 is no Datum; the image beside it in its batch"
        " takes its place (1 of at most 100 such records)"
    )
    lines = [f"W{PREFIX[1:]}{text}" for text in ("Cannot write a: full", record, "so")]
    outcome = train(tmp_path, lines, "", Progress("a stage", 100, None, said))
    assert outcome == process.Outcome(damaged=1, seconds=pytest.approx(0, abs=30))
    expected = f"warning: Cannot write a: full\nwarning: {record}\n"
    assert said.getvalue() == expected


def test_a_full_disk_takes_the_log_and_not_the_training(tmp_path):
    (tmp_path / "train.log").symlink_to("/dev/full")
    said = io.StringIO()
    progress = Progress("a stage", 100, None, said)
    assert train(tmp_path, FINITE, "", progress).code == 0
    assert said.getvalue().count("train.log: No space left on device") == 1
    assert "0/100" in said.getvalue()


def test_a_reader_that_has_gone_stops_the_program_cleanly(tmp_path):
    slow = (
        "import signal, sys\n"
        "def stop(*_):\n"
        "    time.sleep(0.2)\n"
        # the signal may come while it prints, which cannot be entered twice
        f"    os.write(1, b{PREFIX!r} + b'Optimization stopped early.\\n')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGINT, stop)\n"
        f"for line in {FINITE!r}: print(line, flush=True)\n"
        "time.sleep(60)"
    )
    start = time.monotonic()
    progress = Progress("a stage", 100, None, Broken())
    outcome = train(tmp_path, [], slow, progress)
    assert time.monotonic() - start < 30
    assert outcome.stopped and outcome.code == 0
    assert (tmp_path / "train.log").read_text().endswith("early.\n")


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


def test_no_fault_where_it_ended_well(tmp_path):
    assert train(tmp_path, FINITE, "") == process.Outcome(
        seconds=pytest.approx(0, abs=30)
    )


LIMITED = f"""
import io, resource, sys
from pathlib import Path
from swwae.engine import process
from swwae.engine.progress import Progress
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
program = "for line in {[FINITE[0]] * 99 + [LAST]!r}: print(line)"
outcome = process.train(
    [sys.executable, "-c", program],
    Path(sys.argv[1]),
    Progress("a stage", 100, None, io.StringIO()),
    print,
)
assert outcome.code == 0
"""


def test_a_disk_that_is_full_costs_lines_of_the_log_alone(tmp_path):
    """Here a limit of the file's size does."""
    log = tmp_path / "train.log"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, log], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == f"{ROOT}/x.solverstate\n", done.stderr
    assert log.stat().st_size == 1000


HOLD = """
import sys
from pathlib import Path
from swwae.base.locks import locked
from swwae.engine import process
process.end_with_parent = lambda **_: None  # as if the signal had not come yet
with locked(Path(sys.argv[1])), process.running(["sleep", "60"]) as child:
    print(child.pid, flush=True)
    child.wait()
"""


def test_what_outlives_a_killed_run_holds_its_lock(tmp_path):
    """Or the next one would write beside it."""
    (tmp_path / ".lock").touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / ".lock"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as run:
        child = int(run.stdout.readline())
        run.kill()
    try:
        assert is_locked(tmp_path / ".lock")
    finally:
        os.kill(child, signal.SIGKILL)
    end = time.monotonic() + 10
    while is_locked(tmp_path / ".lock"):
        assert time.monotonic() < end
        time.sleep(0.01)
