"""The recipe's scripts, from any folder, through links, and in a copy."""

import json
import os
import shutil
import subprocess

import pytest

from swwae.base.project import ROOT
from tests.helpers.tiny_project import Project

PLACES = ("root", "tools", "elsewhere", "link", "link to a link", "linked checkout")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the checkout, in a folder whose name has a space."""
    return Project(tmp_path_factory.mktemp("scripts") / "a copy")


@pytest.fixture(params=PLACES)
def place(request, project, tmp_path):
    """Returns the folder to start in, and how a script is called there."""
    root = project.root
    (tmp_path / "checkout").symlink_to(root)
    for script in (root / "tools").glob("*.sh"):
        (tmp_path / script.name).symlink_to(script)
        (tmp_path / f"again-{script.name}").symlink_to(script.name)
    return {
        "root": (root, "tools/{}"),
        "tools": (root / "tools", "./{}"),
        "elsewhere": (tmp_path, f"{root}/tools/{{}}"),
        "link": (tmp_path, "./{}"),
        "link to a link": (root.parent, f"{tmp_path}/again-{{}}"),
        "linked checkout": (tmp_path, "checkout/tools/{}"),
    }[request.param]


def start(place, script, *arguments, **environment):
    folder, call = place
    return subprocess.run(
        [call.format(script), *map(str, arguments)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_stage_runs_in_its_own_project(project, place):
    done = start(place, "run_stage.sh", 0, "--net", "tiny", "--max-iter", 1, "--force")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "is finished" in done.stdout
    assert "runs/tiny/baseline/stage0/final.caffemodel" in done.stdout
    status = project.status("baseline", 0)
    assert status["weights_out"]["path"].startswith("runs/tiny/")
    assert status["command"][0] == "tools/run_stage.sh"
    log = (project.folder("baseline", 0) / "train.log").read_text()
    assert log.count("==== ") == 1  # --force began it anew, here and nowhere else


def test_files_are_named_from_the_folder_one_is_in(project, place):
    folder, _ = place
    done = start(place, "run_stage.sh", 1, "--net", "tiny", "--weights", "nowhere.x")
    shown = os.path.relpath(folder / "nowhere.x", project.root)
    if shown.startswith(".."):
        shown = folder / "nowhere.x"
    assert done.returncode == 2
    sentence = f"the weights {shown} cannot be read: No such file or directory."
    assert done.stderr == f"run_stage.sh: {sentence}\n"


def test_a_mistake_is_a_sentence(place):
    done = start(place, "run_stage.sh", 2, "--net", "tini")
    assert done.returncode == 2 and done.stderr.startswith("run_stage.sh: ")
    assert "did you mean tiny?" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["run_stage.sh", "demo.sh", "reproduce.sh"])
def test_help_is_given(place, script):
    done = start(place, script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    words = {"run_stage.sh": "STAGE", "demo.sh": "--quick", "reproduce.sh": "--seeds"}
    assert words[script] in done.stdout


def test_an_unknown_option_of_the_demo(place):
    done = start(place, "demo.sh", "--fast")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "demo.sh: unknown option '--fast'; only --quick is known\n"


def test_runs_go_where_they_are_told_to(project, tmp_path):
    place = (tmp_path, f"{project.root}/tools/{{}}")
    once = ("run_stage.sh", 0, "--net", "tiny", "--max-iter", 1)
    for runs, folder in (
        ("runs/other", project.root / "runs/other"),
        (str(tmp_path / "mine"), tmp_path / "mine"),
    ):
        done = start(place, *once, RUNS_DIR=runs)
        assert done.returncode == 0, done
        status = folder / "tiny/baseline/stage0/status.json"
        assert json.loads(status.read_text())["state"] == "finished"
    assert os.listdir(tmp_path) == ["mine"]


def test_a_moved_checkout_goes_on(project, tmp_path):
    runs = project.root / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    moved = tmp_path / "moved"
    shutil.copytree(project.root, moved, symlinks=True)
    (moved / "runs").mkdir()
    once = ("run_stage.sh", 0, "--net", "tiny")
    done = start((moved, "tools/{}"), *once, "--max-iter", 1)
    assert done.returncode == 0, done
    assert not runs.exists()
    again = tmp_path / "again"
    moved.rename(again)
    done = start((tmp_path, "again/tools/{}"), *once)
    assert done.returncode == 0, done
    assert "resumes  from the snapshot of iteration 1" in done.stdout


def test_without_a_venv_the_command_is_said(project, tmp_path):
    copy = tmp_path / "copy"
    (copy / "tools").mkdir(parents=True)
    shutil.copy(project.root / "tools/run_stage.sh", copy / "tools")
    done = start((tmp_path, "copy/tools/{}"), "run_stage.sh", 2)
    assert (done.returncode, done.stderr) == (
        2,
        "run_stage.sh: the project's Python is not installed: run tools/venv.sh\n",
    )


@pytest.mark.parametrize(
    ("chosen", "for_gpus", "built"),
    [
        (None, False, "build"),
        (None, True, "build --cuda"),
        ("build/caffe", True, "build"),
        ("{root}/build/../build/caffe", True, "build"),
        ("build/caffe-cuda", False, "build --cuda"),
        ("{root}/build/caffe-cuda/", True, "build --cuda"),
        ("~/caffe", True, ""),
        ("elsewhere", False, ""),
    ],
)
def test_the_build_that_is_used_is_built(
    project, tmp_path, monkeypatch, chosen, for_gpus, built
):
    monkeypatch.delenv("CAFFE_BUILD", raising=False)
    if chosen:
        monkeypatch.setenv("CAFFE_BUILD", chosen.format(root=tmp_path))
    for folder in ("tools", "fork", "build/caffe/bin", "build/caffe-cuda/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(project.root / "tools/build_used.sh", tmp_path / "tools")
    build = tmp_path / "fork/build.sh"
    build.write_text('#!/bin/sh\necho build "$@"\n')
    programs = [build, tmp_path / "build/caffe/bin/caffe"]
    programs += [tmp_path / "build/caffe-cuda/bin/caffe"] if for_gpus else []
    for program in programs:
        program.touch()
        program.chmod(0o755)
    done = start((tmp_path, "tools/{}"), "build_used.sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == built


@pytest.mark.parametrize("script", ["demo.sh", "reproduce.sh"])
def test_what_begins_with_a_build_takes_the_one_that_is_used(project, tmp_path, script):
    """It ends there, as the build fails."""
    (tmp_path / "tools").mkdir()
    shutil.copy(project.root / "tools" / script, tmp_path / "tools")
    build = tmp_path / "tools/build_used.sh"
    build.write_text("#!/bin/sh\necho it fails; exit 3\n")
    build.chmod(0o755)
    done = start((tmp_path, "tools/{}"), script)
    assert (done.returncode, done.stdout) == (3, "it fails\n")


def test_a_compiler_that_is_too_old_is_named(tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in\n--version) echo "g++ (GCC) 4.8.4" ;;\n'
        '*-std=c++17*) exit 1 ;;\n*) exec /usr/bin/g++ "$@" ;;\nesac\n'
    )
    compiler.chmod(0o755)
    (tmp_path / "project").mkdir()
    shutil.copytree(ROOT / "fork", tmp_path / "project/fork")
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = start((tmp_path / "project", "{}"), "fork/build.sh", PATH=path)
    assert done.returncode == 2
    assert "g++ (GCC) 4.8.4 does not compile C++17 with OpenMP" in done.stderr
