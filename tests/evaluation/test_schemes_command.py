"""evaluate.py's command with both test schemes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import caffe
import numpy as np
import pytest

from swwae.base.project import ROOT


def command(*arguments):
    tool = ROOT / "tools" / "evaluate.py"
    return [sys.executable, tool, *map(str, arguments)]


def test_convolution_from_the_command_line(tmp_path):
    """vgg8 with random weights on the real test images."""
    weights = tmp_path / "vgg8.caffemodel"
    deploy = "models/vgg8/baseline/deploy.prototxt"
    net = caffe.Net(str(ROOT / deploy), caffe.TEST)
    for blobs in net.params.values():
        blobs[0].data[...] = np.random.default_rng(3).normal(0, 0.1, blobs[0].shape)
    net.save(str(weights))
    report = tmp_path / "result.json"
    arguments = ["--net", "vgg8", "--variant", "baseline", "--weights", weights]
    arguments += ["--scheme", "convolution", "--split", "train", "--images", 90]
    done = subprocess.run(
        command(*arguments, "--seed", 4, "--json", report, "--compare"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(report.read_text())
    assert result["scheme"] == "convolution"
    assert (result["images"], result["seed"], result["recon_l2"]) == (90, 4, None)
    assert "this scheme's network has no decoder" in done.stdout
    assert "vgg8 is not" in done.stdout
    assert "90 of 60,000 train images, seed 4" in done.stderr


def test_killed_it_leaves_no_process_and_no_file(tmp_path):
    weights = tmp_path / "vgg8.caffemodel"
    deploy = "models/vgg8/swwae-all/deploy.prototxt"
    caffe.Net(str(ROOT / deploy), caffe.TEST).save(str(weights))
    report = tmp_path / "result.json"
    arguments = ["--net", "vgg8", "--variant", "swwae-all", "--weights", weights]
    for end, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        started = subprocess.Popen(
            command(*arguments, "--json", report),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert "10,000 val images" in started.stderr.readline()
        time.sleep(1)
        os.kill(started.pid, end)
        assert started.wait(30) == code
        said = started.stderr.read()
        assert said == ("evaluate.py: interrupted\n" if code == 130 else "")
        for _ in range(50):
            with suppress(ProcessLookupError):
                os.killpg(started.pid, 0)
                time.sleep(0.1)
                continue
            break
        else:
            raise AssertionError("processes that read images are left")
        assert not report.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--compare", "README.md"], "README.md is no JSON file"),
        (["--compare", "none.json"], "none.json cannot be read"),
        (["--gpu", "97"], "--gpu 97"),
        (["--images", "0"], "--images: '0' is no whole number from 1 on"),
        (["--batch", "0"], "--batch: '0' is no whole number from 1 on"),
        (["--scheme", "ten-crop"], "single-crop"),
    ],
)
def test_mistakes_are_said_before_anything_is_done(arguments, words):
    done = subprocess.run(
        command("--net", "vgg8", "--variant", "baseline", *arguments),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
