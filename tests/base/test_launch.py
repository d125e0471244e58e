"""Programs find the project's Python and end cleanly, in a project of their own."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from generator import caffe_build
from generator.errors import UserError
from swwae import launch
from swwae.base import program
from swwae.base import project as places

ROOT = Path(__file__).resolve().parents[2]
BASE_PYTHON = Path(sys.base_prefix) / "bin" / "python3"
COMMAND = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)

def main():
    print(json.dumps([sys.prefix, sys.argv, sys.flags.dont_write_bytecode]))
"""
COPIED = (
    "swwae/__init__.py",
    "swwae/launch.py",
    "swwae/base/__init__.py",
    "swwae/base/program.py",
    "swwae/commands/__init__.py",
    "generator/__init__.py",
    "generator/caffe_build.py",
    "generator/errors.py",
)


@pytest.fixture
def project(tmp_path):
    """An empty project with what starts programs, a command, and its launcher."""
    for name in (*COPIED, "tools/evaluate.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "swwae/commands/evaluate.py").write_text(COMMAND)
    return tmp_path


def start(project, *needs, python=BASE_PYTHON, cwd=None, words=None):
    words = words or [project / "tools" / "evaluate.py"]
    arguments = [python, "-B", *words, json.dumps(needs), "with space"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        arguments, capture_output=True, text=True, cwd=cwd, env=environment, timeout=30
    )


def test_without_a_venv_the_command_is_said(project):
    done = start(project)
    assert done.returncode == 2
    assert done.stderr == (
        "evaluate.py: the project's Python is not installed: run tools/venv.sh\n"
    )


def test_the_program_starts_again_under_the_venv(project):
    venv.create(project / ".venv", symlinks=True)
    venv_python = project / ".venv" / "bin" / "python"
    for python in (BASE_PYTHON, venv_python):
        done = start(project, "json", python=python, cwd="/")
        prefix, arguments, unwritten = json.loads(done.stdout)
        assert Path(prefix) == project / ".venv" and done.stderr == ""
        assert arguments[1:] == ['["json"]', "with space"] and unwritten == 1


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["-m", "swwae.commands.evaluate"], "evaluate.py"),
        (["swwae/launch.py", "evaluate"], "launch.py"),
    ],
)
def test_a_command_starts_in_other_ways(project, words, name):
    venv.create(project / ".venv", symlinks=True)
    done = start(project, "json", cwd=project, words=words)
    prefix, arguments, _ = json.loads(done.stdout)
    assert Path(prefix) == project / ".venv" and done.stderr == ""
    assert Path(arguments[0]).name == name
    assert arguments[1:] == ['["json"]', "with space"]


def test_a_command_starts_through_a_link(project, tmp_path_factory):
    venv.create(project / ".venv", symlinks=True)
    folder = tmp_path_factory.mktemp("bin")
    (folder / "evaluate").symlink_to(project / "tools/evaluate.py")
    (folder / "checkout").symlink_to(project)
    for link in (folder / "evaluate", folder / "checkout/tools/evaluate.py"):
        done = start(project, cwd="/", words=[link])
        assert Path(json.loads(done.stdout)[0]) == project / ".venv", done.stderr


def test_neighbours_of_a_launcher_are_no_modules(project):
    venv.create(project / ".venv", symlinks=True)
    (project / "tools/neighbour.py").touch()
    done = start(project, "neighbour")
    assert done.returncode == 2 and "lacks neighbour" in done.stderr


def test_half_a_venv_counts_as_none(project):
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(BASE_PYTHON)
    done = start(project)
    assert done.returncode == 2 and "run tools/venv.sh" in done.stderr


@pytest.mark.parametrize(
    ("needs", "sentence"),
    [
        (["json", "no_such_a"], "lacks no_such_a: run tools/"),
        (["json", "no_such_b.part"], "lacks no_such_b: run tools/"),
        (["caffe"], launch.NOT_BUILT),
        (["caffe.proto"], launch.NOT_BUILT),
    ],
)
@pytest.mark.parametrize("words", [None, ["-m", "swwae.commands.evaluate"]])
def test_missing_packages_are_said(project, needs, sentence, words):
    venv.create(project / ".venv", symlinks=True)
    done = start(project, *needs, words=words, cwd=project)
    assert done.returncode == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1


def test_a_caffe_that_cannot_be_loaded_is_said(project):
    venv.create(project / ".venv", symlinks=True)
    (site,) = (project / ".venv").glob("lib/python3*/site-packages")
    (site / "caffe").mkdir()
    (site / "caffe/__init__.py").write_text("from . import _caffe")
    (site / "caffe/_caffe.so").write_bytes(b"")
    done = start(project, "caffe")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "Caffe cannot be loaded (" in done.stderr
    assert "run fork/build.sh" in done.stderr


@pytest.mark.parametrize(
    ("library", "command"),
    [
        ("libcudnn.so.9", "fork/build.sh --cuda"),
        ("libcudart.so.13", "fork/build.sh --cuda"),
        ("libcurl.so.4", "fork/build.sh"),
        ("libglog.so.1", "fork/build.sh"),
    ],
)
def test_a_library_that_is_gone_names_its_build(library, command):
    words = f"{library}: cannot open shared object file: No such file or directory"
    said = launch.missing(ImportError(words, name="caffe._caffe"))
    assert said == f"the patched Caffe cannot be loaded ({words}): run {command}"


def test_a_mistake_of_ours_is_no_missing_package(project):
    venv.create(project / ".venv", symlinks=True)
    done = start(project, "swwae.no_such")
    assert done.returncode == 1 and "No module named 'swwae.no_such'" in done.stderr


def test_importing_a_program_changes_nothing(project, tmp_path_factory):
    importer = tmp_path_factory.mktemp("elsewhere") / "importer.py"
    importer.write_text(
        f"import sys; sys.path.insert(0, {str(project / 'tools')!r})\n"
        "sys.argv[1:] = ['[\"no_such\"]']\n"
        "import evaluate\n"
        "print(sys.prefix)\n"
    )
    done = subprocess.run([BASE_PYTHON, importer], capture_output=True, text=True)
    assert done.returncode == 0 and Path(done.stdout.strip()) != project / ".venv"


def ends_with(main):
    with pytest.raises(SystemExit) as end:
        program.run(main)
    return end.value.code


def test_run_turns_every_end_into_an_exit_code(monkeypatch, capsys):
    def mistake():
        raise UserError("expected 3, found 4: run it again")

    def interruption():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["/somewhere/tool.py"])
    assert ends_with(lambda: None) == 0
    assert ends_with(lambda: 7) == 7
    assert capsys.readouterr().err == ""
    assert ends_with(mistake) == 2
    assert capsys.readouterr().err == "tool.py: expected 3, found 4: run it again\n"
    assert ends_with(interruption) == 130
    assert capsys.readouterr().err == "tool.py: interrupted\n"
    with pytest.raises(ZeroDivisionError):
        program.run(lambda: 1 // 0)


def test_ctrl_c_while_modules_are_imported_is_a_sentence(project):
    venv.create(project / ".venv", symlinks=True)
    (project / "swwae/commands/evaluate.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [BASE_PYTHON, project / "tools/evaluate.py"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "evaluate.py: interrupted\n")


def test_a_reader_that_goes_away_is_no_error(project):
    venv.create(project / ".venv", symlinks=True)
    (project / "swwae/commands/evaluate.py").write_text(
        "def main():\n    while True: print('a line')\n"
    )
    with subprocess.Popen(
        [BASE_PYTHON, project / "tools/evaluate.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "a line\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("program", ["tools/evaluate.py", "generator"])
def test_a_full_disk_is_a_sentence(program):
    words = ["-m", program, "--list"] if program == "generator" else [program, "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "the output cannot be written: No space left on device" in done.stderr


def test_a_name_that_is_no_text_can_be_printed():
    code = "from swwae.base import program; program.run(lambda: print('caf\\udce9'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
    )
    assert (done.returncode, done.stdout) == (0, "caf\\udce9\n"), done.stderr


def test_which_build_is_used(monkeypatch, tmp_path):
    monkeypatch.delenv("CAFFE_BUILD", raising=False)
    assert caffe_build.folder(tmp_path) == f"{tmp_path}/build/caffe"
    for name in ("caffe", "caffe-cuda"):
        (tmp_path / "build" / name / "bin").mkdir(parents=True)
        (tmp_path / "build" / name / "bin/caffe").touch()
        assert caffe_build.folder(tmp_path) == f"{tmp_path}/build/{name}"
    monkeypatch.setenv("CAFFE_BUILD", "build/caffe")
    assert caffe_build.folder(tmp_path) == f"{tmp_path}/build/caffe"
    monkeypatch.setenv("CAFFE_BUILD", "/elsewhere")
    assert caffe_build.folder(tmp_path) == "/elsewhere"


def test_a_build_that_is_not_there_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "CAFFE", tmp_path / "bin/caffe")
    monkeypatch.delenv("CAFFE_BUILD", raising=False)
    with pytest.raises(UserError, match="run fork/build.sh, or for GPUs .* --cuda"):
        places.require_caffe()
    monkeypatch.setenv("CAFFE_BUILD", "somewhere")
    with pytest.raises(UserError, match="CAFFE_BUILD is somewhere, where there is no"):
        places.require_caffe()
    (tmp_path / "bin").mkdir()
    places.CAFFE.touch()
    places.require_caffe()
