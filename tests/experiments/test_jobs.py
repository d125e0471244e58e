"""Commands that need one another: their order, failures, interruptions, progress."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from swwae.experiments.jobs import Job, Schedule

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make(tmp_path):
    """A job of a shell command that is done when it has written a file of its name."""

    def job(name, *needs, command=None, cost=1.0):
        text = command or f"date +%s%N >> {name}"
        return Job(
            name,
            ["sh", "-c", f"cd {tmp_path}; {text}"],
            (tmp_path / name).is_file,
            tmp_path / "logs" / name,
            needs,
            cost,
        )

    return job


def run(jobs, parallel=2):
    stream = io.StringIO()
    schedule = Schedule(jobs, parallel, stream)
    return schedule.run(), stream.getvalue()


def written(folder, name):
    return [int(line) for line in (folder / name).read_text().split()]


def test_a_job_runs_after_those_that_it_needs(make, tmp_path):
    jobs = [make("c", "a", "b"), make("a"), make("b", "a")]
    result, _ = run(jobs)
    assert not result.failed and not result.skipped
    a, b, c = (written(tmp_path, name)[0] for name in "abc")
    assert a < b < c


def test_jobs_take_turns_on_the_gpus(tmp_path):
    """While one is on each, the next has to be on the one that is free first."""
    script = 'sleep "$2"; echo "$3 $4" >"$1"'

    def job(name, seconds, gpus=(0, 3)):
        path = tmp_path / name
        command = ["sh", "-c", script, "sh", str(path), str(seconds)]
        return Job(name, command, path.is_file, tmp_path / f"{name}.log", gpus=gpus)

    run([job("a", 2), job("b", 0), job("c", 0), job("d", 0, ())], parallel=2)
    taken = {name: (tmp_path / name).read_text().strip() for name in "abcd"}
    assert taken == {"a": "--gpu 0", "b": "--gpu 3", "c": "--gpu 3", "d": ""}


def test_what_is_done_is_not_done_again(make, tmp_path):
    jobs = [make("a"), make("b", "a")]
    run(jobs[:1])
    assert [job.name for job in Schedule(jobs, 1, io.StringIO()).remaining] == ["b"]
    run(jobs)
    assert len(written(tmp_path, "a")) == len(written(tmp_path, "b")) == 1


def test_a_failure_leaves_out_what_needs_it_and_nothing_else(make, tmp_path):
    jobs = [
        make("bad", command="echo it went; echo wrong: the reason >&2; exit 3"),
        make("next", "bad"),
        make("last", "next"),
        make("other"),
    ]
    result, said = run(jobs, parallel=1)
    assert result.failed == ["bad"]
    assert result.skipped == ["next", "last"]
    assert (tmp_path / "other").is_file() and not (tmp_path / "last").exists()
    assert "bad failed: wrong: the reason (" in said


def test_caffes_last_words_are_the_reason(make):
    line = "F1124 06:20:42.123456 77 syncedmem.cpp:9] Check failed: out of memory"
    bad = make("bad", command=f"echo '{line}'; echo '*** stack trace: ***'; exit 134")
    _, said = run([bad])
    assert "bad failed: Check failed: out of memory (" in said


def test_a_programs_sentence_behind_caffes_words_is_the_reason(make):
    line = "F1124 06:20:42.123456 77 syncedmem.cpp:9] Check failed: out of memory"
    sentence = "evaluate.py: GPU 0 has 9 MB of its memory free"
    said = {}
    for name, lines in {
        "later": (line, "*** stack trace: ***", sentence),
        "earlier": (sentence, line, "*** stack trace: ***"),
    }.items():
        text = "; ".join(f"echo '{line}'" for line in lines)
        said[name] = run([make(name, command=f"{text}; exit 1")])[1]
    assert f"later failed: {sentence} (" in said["later"]
    assert "earlier failed: Check failed: out of memory (" in said["earlier"]


def test_an_earlier_trys_words_are_not_the_reason(make, tmp_path):
    line = "F1124 06:20:42.123456 77 syncedmem.cpp:9] Check failed: out of memory"
    run([make("bad", command=f"echo '{line}'; exit 134")])
    _, said = run([make("bad", command="echo the second try; exit 1")])
    assert "bad failed: the second try (" in said


def test_what_needs_a_job_that_is_done_again_is_asked_again(make, tmp_path):
    """As when weights were trained anew: what was made of the old ones is stale."""
    jobs = [make("a"), make("b", "a"), make("c", "b"), make("other")]
    run(jobs)
    (tmp_path / "a").unlink()
    schedule = Schedule(jobs, 1, io.StringIO())
    assert [job.name for job in schedule.remaining] == ["a", "b", "c"]
    made = tmp_path / "a"

    def is_newer():
        path = tmp_path / "b"
        return path.is_file() and path.stat().st_mtime_ns > made.stat().st_mtime_ns

    stale = replace(jobs[1], is_done=is_newer)
    result, _ = run([jobs[0], stale, *jobs[2:]], parallel=1)
    assert not result.failed
    assert len(written(tmp_path, "b")) == 2 and len(written(tmp_path, "other")) == 1


def test_what_cannot_be_gone_on_with_is_started_over(make, tmp_path):
    job = make("a")
    script = ["sh", "-c", f"cd {tmp_path}; echo $0 > a"]
    job = replace(
        job, command=script, restart_options=["--force"], must_restart=lambda: True
    )
    run([job])
    assert (tmp_path / "a").read_text() == "--force\n"


def test_results_can_be_written_after_every_job(make):
    counted = []
    jobs = [make("a"), make("b")]
    Schedule(jobs, 1, io.StringIO(), lambda: counted.append(1)).run()
    assert len(counted) == 2


def test_a_command_that_succeeds_without_its_result_has_failed(make):
    result, _ = run([make("empty", command="true")])
    assert result.failed == ["empty"]


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_run_than_are_asked_for(make, tmp_path, parallel):
    count = "mkdir run$$; ls -d run* | wc -l >> counts; sleep 0.3; rmdir run$$"
    jobs = [make(name, command=f"{count}; touch {name}") for name in "abcdef"]
    run(jobs, parallel)
    assert max(written(tmp_path, "counts")) == parallel


def test_progress_counts_work_rather_than_jobs(make):
    jobs = [make("small", cost=1), make("large", "small", cost=9)]
    run(jobs[:1])
    _, said = run(jobs)
    assert said.startswith(" 10%, 1 of 2 jobs: large 0%")


def test_ctrl_c_ends_the_commands_and_says_so(tmp_path):
    """The command saves what it has: it is told as `caffe train` is."""
    text = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from swwae.experiments.jobs import Job, Schedule
        command = "trap 'echo saved; exit 130' TERM; echo on; sleep 60 & wait"
        log = Path({str(tmp_path / "log")!r})
        job = Job("long", ["sh", "-c", command], lambda: False, log)
        result = Schedule([job], 1).run()
        print(result.interrupted, result.failed)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)], stdout=subprocess.PIPE, text=True
    )
    log = tmp_path / "log"
    deadline = time.monotonic() + 20
    while not (log.is_file() and "on" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert output.split("\n")[-2] == "True []"
    assert log.read_text().split() == ["on", "saved"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_progress_passes_and_failures_stay(make):
    stream = Terminal()
    jobs = [make("bad", command="echo why; exit 3"), make("good", command="sleep 0.5")]
    Schedule(jobs, 2, stream).run()
    assert stream.getvalue().startswith("  0%, 0 of 2 jobs: bad 0%, good 0%")
    lines = stream.getvalue().split("\n")
    assert "bad failed: why (" in lines[0]
    assert not lines[-1].endswith("%")  # the progress is not left behind


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_where_nobody_reads_the_progress_the_commands_are_ended(make):
    job = make("long", command="sleep 60")
    start = time.monotonic()
    with pytest.raises(BrokenPipeError):
        Schedule([job], 1, Closed()).run()
    assert time.monotonic() - start < 20


def test_a_table_takes_the_place_of_names(make, tmp_path):
    seen = []

    def table(states):
        seen.append(dict(states))
        return [f"table: {name} {state}" for name, state in states.items()]

    jobs = [make("a"), make("b", command="exit 3"), make("c", "b"), make("d", "a")]
    stream = io.StringIO()
    schedule = Schedule(jobs, 1, stream, table=table)
    schedule.run()
    assert seen[0] == {"a": "running", "b": "waiting", "c": "waiting", "d": "waiting"}
    assert "table: a running\n" in stream.getvalue()
    assert schedule.states == {
        "a": "finished",
        "b": "failed",
        "c": "left out",
        "d": "finished",
    }


def test_a_killed_job_says_by_what(make):
    _, shown = run([make("a", command="echo at work; kill -KILL $$")])
    assert "a failed: it was ended by SIGKILL (" in shown
