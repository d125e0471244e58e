"""Scripts that download and install, with stand-ins for what they start."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path):
    """A folder with tools/fetch.sh, in which what it starts notes itself in `calls`."""
    root = tmp_path / "a clone"
    for name in ("fork/build.sh", "data/fashion_mnist/create.py", "tools/browser.sh"):
        script = root / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'#!/bin/sh\necho "{name} $*" >>calls\n[ ! -e fails ]\n')
        script.chmod(0o755)
    shutil.copy(ROOT / "tools/fetch.sh", root / "tools")
    return root


def run(script, *arguments):
    return subprocess.run(
        [script, *arguments], check=False, capture_output=True, text=True, cwd="/"
    )


@pytest.mark.parametrize("only", [(), ("--demo",)])
def test_every_download_is_made(clone, only):
    done = run(clone / "tools/fetch.sh", *only)
    assert (done.returncode, done.stderr) == (0, "")
    *calls, last = (clone / "calls").read_text().splitlines()
    fetched = "data/fashion_mnist/create.py --fetch"
    assert [*calls, last][:2] == ["fork/build.sh --fetch", fetched]
    assert last == (fetched if only else "tools/browser.sh ")
    assert ("tools/test.sh" in done.stdout) == (not only)


def test_a_download_that_fails_ends_it(clone):
    (clone / "fails").touch()
    done = run(clone / "tools/fetch.sh")
    assert done.returncode != 0 and "everything" not in done.stdout
    assert (clone / "calls").read_text() == "fork/build.sh --fetch\n"


def test_unknown_arguments_are_refused(clone):
    done = run(clone / "tools/fetch.sh", "--all")
    assert done.returncode == 2 and not (clone / "calls").exists()
    assert done.stderr == "fetch.sh: expected at most --demo, found: --all\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["buster"], "unknown argument 'buster'; releases are bookworm and trixie."),
        (["--bind"], "--bind takes a folder of this machine, found ''."),
        (
            ["--bind", "/nowhere"],
            "--bind takes a folder of this machine, found '/nowhere'.",
        ),
    ],
)
def test_a_release_that_is_not_tried_is_refused(arguments, sentence):
    done = run(ROOT / "tests/systems.sh", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tests/systems.sh: {sentence}\n"
