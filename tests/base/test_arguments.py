"""What --gpu and --torch-python take."""

import sys
from argparse import ArgumentTypeError

import pytest

from swwae.base.arguments import gpu_list, gpu_number, program
from swwae.commands import bench, compare_gradients, evaluate, run_stage, selftest


def test_numbers_of_gpus():
    assert gpu_list("all") == "all" and gpu_list("0,12,999") == "0,12,999"
    assert [gpu_number("0"), gpu_number("999")] == [0, 999]
    for wrong in ("", "0,", "-1", "1000", "0,99999999999"):
        with pytest.raises(ArgumentTypeError, match=f"'{wrong}' is neither 'all' nor"):
            gpu_list(wrong)
    with pytest.raises(ArgumentTypeError, match="no whole number from 0 to 999"):
        gpu_number("1000")


def test_a_program_is_found_from_the_folder_one_is_in(tmp_path, monkeypatch):
    """And a link, as a virtual environment's Python is one, stays one."""
    link = tmp_path / "bin/python3"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    assert program("bin/python3") == program(str(link)) == link
    assert program("sh").is_absolute()
    with pytest.raises(ArgumentTypeError, match="'bin/none' is no program that can"):
        program("bin/none")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (bench, []),
        (compare_gradients, []),
        (evaluate, ["--net", "vgg8", "--variant", "baseline"]),
        (run_stage, ["0"]),
        (selftest, []),
    ],
)
def test_a_number_that_caffe_cannot_hold_is_a_mistake(
    command, arguments, capsys, monkeypatch
):
    typed = ["program", *arguments, "--gpu", "99999999999"]
    monkeypatch.setattr("sys.argv", typed)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "argument --gpu: '99999999999' is " in capsys.readouterr().err
