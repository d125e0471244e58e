"""Files that are written whole or not at all, and what is asked before."""

import json
import math
import os

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
