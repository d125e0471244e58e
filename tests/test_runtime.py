"""Programs find the project's Python and end cleanly, in a project of their own."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import runtime

ROOT = Path(__file__).resolve().parents[1]
BASE_PYTHON = Path(sys.base_prefix) / "bin" / "python3"
PROGRAM = """
import json, sys
from runtime import use_project_python
use_project_python(*json.loads(sys.argv[1]))
print(json.dumps([sys.prefix, sys.argv[1:], sys.flags.dont_write_bytecode]))
"""


@pytest.fixture
def project(tmp_path):
    """An empty project with runtime.py and a program that uses it."""
    for name in ("tools/runtime.py", "generator/__init__.py", "generator/errors.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tools" / "program.py").write_text(PROGRAM)
    return tmp_path


def start(project, *needs, python=BASE_PYTHON, cwd=None):
    program = project / "tools" / "program.py"
    arguments = [python, "-B", program, json.dumps(needs), "with space"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        arguments, capture_output=True, text=True, cwd=cwd, env=environment, timeout=30
    )


def test_without_a_venv_the_command_is_said(project):
    done = start(project)
    assert done.returncode == 2
    assert done.stderr == (
        "program.py: the project's Python is not installed: run tools/venv.sh\n"
    )


def test_the_program_starts_again_under_the_venv(project):
    venv.create(project / ".venv", symlinks=True)
    venv_python = project / ".venv" / "bin" / "python"
    for python in (BASE_PYTHON, venv_python):
        done = start(project, "json", python=python, cwd="/")
        prefix, arguments, unwritten = json.loads(done.stdout)
        assert Path(prefix) == project / ".venv" and done.stderr == ""
        assert arguments == ['["json"]', "with space"] and unwritten == 1


def test_half_a_venv_counts_as_none(project):
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(BASE_PYTHON)
    done = start(project)
    assert done.returncode == 2 and "run tools/venv.sh" in done.stderr


@pytest.mark.parametrize(
    ("needs", "sentence"),
    [
        (["json", "no_such_a", "no_such_b"], "lacks no_such_a, no_such_b: run tools/"),
        (["caffe"], "the patched Caffe is not built: run fork/build.sh"),
    ],
)
def test_missing_packages_are_said(project, needs, sentence):
    venv.create(project / ".venv", symlinks=True)
    done = start(project, *needs)
    assert done.returncode == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1


def test_importing_a_program_changes_nothing(project, tmp_path_factory):
    importer = tmp_path_factory.mktemp("elsewhere") / "importer.py"
    importer.write_text(
        f"import sys; sys.path.insert(0, {str(project / 'tools')!r})\n"
        "sys.argv[1:] = ['[\"no_such\"]']\n"
        "import program\n"
    )
    done = subprocess.run([BASE_PYTHON, importer], capture_output=True, text=True)
    assert done.returncode == 0 and Path(json.loads(done.stdout)[0]) != project


def ends_with(main):
    with pytest.raises(SystemExit) as end:
        runtime.run(main)
    return end.value.code


def test_run_turns_every_end_into_an_exit_code(monkeypatch, capsys):
    def mistake():
        raise runtime.UserError("expected 3, found 4: run it again")

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
        runtime.run(lambda: 1 // 0)


def test_a_reader_that_goes_away_is_no_error(project):
    (project / "tools" / "program.py").write_text(
        "from runtime import run\n"
        "def main():\n"
        "    while True: print('a line')\n"
        "run(main)\n"
    )
    program = [BASE_PYTHON, project / "tools" / "program.py"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "a line\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_name_that_is_no_text_can_be_printed():
    code = "import runtime; runtime.run(lambda: print('caf\\udce9'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT / "tools",
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
    )
    assert (done.returncode, done.stdout) == (0, "caf\\udce9\n"), done.stderr
