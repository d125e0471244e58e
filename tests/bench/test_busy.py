"""What others take of the machine while something is timed."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from swwae.bench import busy

CORE = "cpu{} {user} 0 {system} 900 7 1 1 {steal} 0 0\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of three cores, of which this process may use the first two."""
    state = SimpleNamespace(seconds=0.0, own=0.0, stat=tmp_path / "stat")

    def set_stat(*cores):
        lines = [CORE.format(number, **core) for number, core in enumerate(cores)]
        state.stat.write_text(
            "cpu  1 1 1 1 1 1 1 1 0 0\n" + "".join(lines) + "intr 5\n"
        )

    state.set_stat = set_stat
    monkeypatch.setattr(busy, "STAT", state.stat)
    monkeypatch.setattr(busy.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(busy.os, "sysconf", lambda _: 100)
    monkeypatch.setattr(busy.time, "monotonic", lambda: state.seconds)
    monkeypatch.setattr(
        busy.os, "times", lambda: os.times_result([state.own, 0, 0, 0, 0])
    )
    return state


def test_others_are_all_that_is_not_ours_on_our_cores(machine):
    idle = {"user": 50, "system": 5, "steal": 0}
    machine.set_stat(idle, idle, idle)
    others = busy.Others()
    assert others.cores() == 0.0
    # In 10 s: ours 12 s; of the two cores 19 s were taken, 1 s of it by the host.
    machine.seconds, machine.own = 10.0, 12.0
    machine.set_stat(
        {"user": 50 + 900, "system": 5 + 50, "steal": 50},
        {"user": 50 + 850, "system": 5, "steal": 50},
        {"user": 50 + 1000, "system": 5, "steal": 0},
    )
    assert others.cores() == pytest.approx(0.7)


def test_a_system_that_does_not_tell_is_not_busy(machine):
    machine.stat.unlink(missing_ok=True)
    others = busy.Others()
    machine.seconds, machine.own = 1.0, 2.0
    assert others.cores() == 0.0


def test_another_process_is_seen():
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        others = busy.Others()
        time.sleep(1)
        assert others.cores() > 0.3
    finally:
        other.kill()
        other.wait()


def test_quiet_turns_are_not_mentioned():
    assert busy.sentence([]) is None
    assert busy.sentence([0.0, 0.03, 0.1]) is None


def test_busy_turns_are_counted(monkeypatch):
    monkeypatch.setattr(busy.os, "sched_getaffinity", lambda _: {0, 1})
    said = busy.sentence([0.0, 0.52, 1.26])
    assert said.startswith("The machine was busy in 2 of 3 turns: others took 1.3 of 2")
    assert "1 of 1 turn:" in busy.sentence([0.5])
