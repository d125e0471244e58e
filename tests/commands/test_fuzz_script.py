"""tools/fuzz.sh: how often, and what goes on to pytest."""

import subprocess

import pytest

from swwae.base.project import ROOT


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tools/fuzz.sh", *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize("times", ["0", "x", "-1", "1x0", "1.5"])
def test_a_number_is_wanted(times):
    done = start(times)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fuzz.sh: expected how many times, found: {times}\n"


def test_so_many_times_the_inputs_are_counted():
    done = start("2", "-k", "test_rates")
    assert done.returncode == 0, done.stdout
    (line,) = (ln for ln in done.stdout.splitlines() if ln.startswith("rates.json"))
    assert 30 < int(line.split()[1]) <= 60
