"""Files that are written whole or not at all, and what is asked before."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from generator.errors import UserError
from swwae.base.files import check_writable, require_file, whole_file, write_json


def test_json_is_indented_text_that_people_can_read(tmp_path):
    path = tmp_path / "results.json"
    value = {"net": "vgg8", "names": ["größte", None], "error": 1.5}
    write_json(path, value)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.startswith('{\n  "net": "vgg8"') and text.endswith("}\n")
    assert "größte" in text
    assert os.listdir(tmp_path) == ["results.json"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_lacks_are_refused(tmp_path, value):
    path = tmp_path / "results.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": value})
    assert path.read_text() == "1\n"
    assert os.listdir(tmp_path) == ["results.json"]


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(UserError, match="cannot write .*/nowhere/x.json: No such file"):
        write_json(tmp_path / "nowhere" / "x.json", {})
    with pytest.raises(UserError, match="there is no folder .*nowhere: make it first"):
        check_writable(tmp_path / "nowhere" / "x.json")
    with pytest.raises(UserError, match="is a folder; name a file in it"):
        check_writable(tmp_path)
    check_writable(tmp_path / "x.json")
    assert os.listdir(tmp_path) == []


def test_an_interrupted_write_leaves_what_stood_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    with whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    path = tmp_path / "solver.prototxt"
    with pytest.raises(UserError, match="the solver .*solver.prototxt is missing: run"):
        require_file(path, "solver", "tools/make.sh")
    path.touch()
    require_file(path, "solver", "tools/make.sh")


def test_a_pipe_and_a_device_stay_what_they_are(tmp_path):
    """--json /dev/stdout, and --json /dev/null by root."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_writable(path)
        write_json(path, {"error": 1})
        assert os.read(reader, 100) == b'{\n  "error": 1\n}\n'
    finally:
        os.close(reader)
    assert path.is_fifo() and os.listdir(tmp_path) == ["pipe"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "weights", tmp_path / "weights"
    link.symlink_to(target)
    for content in (b"first", b"second"):
        with whole_file(link) as file:
            file.write(content)
        assert link.is_symlink() and target.read_bytes() == content
    assert os.listdir(tmp_path / "disk") == ["weights"]


LIMITED = """
import resource, sys
from pathlib import Path
from generator.errors import UserError
from swwae.base.files import whole_file
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with whole_file(Path(sys.argv[1])) as file:
        for _ in range(1000):
            file.write(b"x" * 100)
except UserError as error:
    print(error)
"""


def test_a_disk_that_fills_up_leaves_what_stood_there(tmp_path):
    """Here a limit of the file's size does, which is met in the middle, too."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"cannot write {path}: File too large.\n", done.stderr
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    """Or a power failure might leave an empty one, and what it was made of gone."""
    done = []
    monkeypatch.setattr(
        os, "fsync", lambda d: done.append(os.readlink(f"/proc/self/fd/{d}"))
    )
    with whole_file(tmp_path / "file") as file:
        file.write(b"new")
        temporary = file.name
    assert done == [temporary, str(tmp_path)]
