"""tools/venv.sh, with a stand-in for Python: when it makes .venv, and when anew."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "tools" / "venv.sh"
CHOOSER = "generator/caffe_build.py"

# Makes environments whose Python is a copy of itself; notes what it was asked.
PYTHON = """\
#!/bin/sh
here=$(dirname "$(dirname "$0")")
case "$*" in
  *"-m venv"*)
    echo venv >>CALLS
    mkdir -p .venv/bin .venv/lib/python3.99/site-packages && cp "$0" .venv/bin ;;
  *"-m pip"*) echo pip >>CALLS; [ -z "${PIP_FAILS-}" ] || { echo "$PIP_FAILS"; exit 1; } ;;
  *sysconfig*) echo "$here/lib/python3.99/site-packages" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "a user's place"
    (root / "tools").mkdir(parents=True)
    (root / "generator").mkdir()
    shutil.copyfile(REPOSITORY / CHOOSER, root / CHOOSER)
    (root / "python").write_text(PYTHON)
    (root / "python").chmod(0o755)
    script = SCRIPT.read_text()
    assert "\npython=/usr/bin/python3\n" in script
    script = script.replace("\npython=/usr/bin/python3\n", "\npython=$PWD/python\n")
    (root / "tools/venv.sh").write_text(script)
    (root / "setup.py").write_text("first")
    return root


def run(root, expect=0, **environment):
    """What Python was asked, and what was said on stderr."""
    calls = root / "CALLS"
    calls.write_text("")
    done = subprocess.run(
        ["bash", root / "tools/venv.sh"],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    assert done.returncode == expect, done.stderr
    return calls.read_text().split(), done.stderr


def pth(root):
    return root / ".venv/lib/python3.99/site-packages/pycaffe.pth"


def pycaffe(root, **environment):
    """The folder that Python looks for pycaffe in, as its start makes it."""
    line = pth(root).read_text()
    done = subprocess.run(
        [sys.executable, "-c", f"{line}import sys; print(sys.path[-1])"],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )
    return done.stdout.removesuffix("\n")


def build(root, name):
    (root / "build" / name / "bin").mkdir(parents=True)
    (root / "build" / name / "bin/caffe").touch()


def test_it_is_made_once(checkout):
    assert run(checkout) == (["venv", "pip"], "")
    assert pycaffe(checkout) == f"{checkout}/build/caffe/python"
    assert run(checkout) == ([], "")


def test_pycaffe_is_that_of_the_build_that_is_used(checkout):
    run(checkout)
    build(checkout, "caffe")
    assert pycaffe(checkout) == f"{checkout}/build/caffe/python"
    build(checkout, "caffe-cuda")
    assert pycaffe(checkout) == f"{checkout}/build/caffe-cuda/python"
    for named in ("build/caffe", f"{checkout}/build/caffe"):
        chosen = pycaffe(checkout, CAFFE_BUILD=named)
        assert chosen == f"{checkout}/build/caffe/python"


def test_an_environment_that_knows_one_build_is_kept(checkout):
    run(checkout)
    pth(checkout).write_text(f"{checkout}/build/caffe/python\n")
    assert run(checkout) == ([], "")
    build(checkout, "caffe-cuda")
    assert pycaffe(checkout) == f"{checkout}/build/caffe-cuda/python"


def test_new_requirements_go_into_the_same_environment(checkout):
    run(checkout)
    (checkout / "setup.py").write_text("second")
    assert run(checkout) == (["pip"], "")
    assert run(checkout) == ([], "")


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_in_another_place_it_is_made_anew(checkout, tmp_path, move):
    run(checkout)
    stale = ".venv/lib/python3.99/site-packages/stale"
    (checkout / stale).touch()
    elsewhere = tmp_path / "elsewhere"
    move(checkout, elsewhere)
    assert run(elsewhere) == (["venv", "pip"], "")
    assert pycaffe(elsewhere) == f"{elsewhere}/build/caffe/python"
    assert not (elsewhere / stale).exists()
    assert run(elsewhere) == ([], "")


def test_through_a_link_it_is_the_same_place(checkout, tmp_path):
    run(checkout)
    (tmp_path / "link").symlink_to(checkout)
    assert run(tmp_path / "link") == ([], "")


def test_a_failed_installation_goes_on_in_the_same_environment(checkout):
    calls, said = run(checkout, expect=2, PIP_FAILS="no network")
    assert calls == ["venv", "pip"]
    assert said == (
        "no network\ntools/venv.sh: pip could not install the packages that setup.py"
        " names; is the network up? Run it again when it is.\n"
    )
    assert run(checkout) == (["pip"], "")


def test_a_broken_environment_is_made_anew(checkout):
    run(checkout)
    (checkout / ".venv/bin/python").unlink()
    (checkout / "setup.py").write_text("second")
    assert run(checkout) == (["venv", "pip"], "")
