"""Command lines that nobody would type: an exit code and a sentence, whatever they say.

They are drawn from each command's own options. The commands run in a copy of the
project, up to where they would start another program.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from hypothesis import given, note
from hypothesis import strategies as st

from swwae.base.project import ROOT
from tests.helpers import datum_lmdb, made_runs, reported
from tests.helpers.fuzz_networks import BRANCHED, SMALL
from tests.helpers.fuzzing import counted, examples

WORKER = Path(__file__).parents[1] / "helpers" / "command_worker.py"
COMMANDS = sorted(
    path.stem
    for path in (ROOT / "swwae/commands").glob("*.py")
    if "def main(" in path.read_text()
)

NUMBERS = (
    *("0", "1", "2", "3", "4", "7", "8", "100", "-1", "999999999999", "0.5", "1e-3"),
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e-999",
        "٣",
        "1_0",
        "0x1",
        " 1",
        "",
        "1,2",
        "9" * 5000,
    ),
)
TEXTS = (
    *(
        "",
        " ",
        "-",
        "--",
        "x",
        "é",
        "\udcff",
        "\u202e",
        "a\nb",
        "y" * 300,
        "../..",
        ".",
    ),
    *(
        "=",
        "all",
        "0,1",
        "0=1,2=3",
        "2=nan",
        "1.5,2,3",
        "tf32",
        "%s",
        "{}",
        "@x",
        "\x1b[2J",
    ),
)
NETS = ("vgg8", "vgg8", "vgg8", "vgg16", "alexnet", "vgg61", "net.prototxt")
VARIANTS = (
    "baseline",
    "swwae-all",
    "swwae-all",
    "sae-first",
    "swwae-layerwise",
    "ladder",
)
RUNS = ("runs/vgg8/swwae-all", "runs/vgg8/baseline", "runs/vgg8/baseline/stage0")
IMAGES = ("photo.png", "cut.png", "val:7", "train:0", "val:", "unseen:text", "unseen:x")
WEIGHTS = ("good.caffemodel", "nan.caffemodel", "cut.caffemodel", "other.caffemodel")
OUTPUTS = (
    *("out.png", "out.svg", "out.json", "out.caffemodel", "out.html", "out.onnx"),
    *("out.safetensors", "out.txt", "folder", "none/out.png", "out", "good.png/x"),
)
FILES = (
    *(
        *WEIGHTS,
        *OUTPUTS,
        *RUNS,
        "net.prototxt",
        "branched.prototxt",
        "empty",
        "folder",
    ),
    *(
        "data/x/train_lmdb",
        "data/x",
        "result.json",
        "list.txt",
        "none/x",
        "x.tar",
        "pipe",
    ),
)
LIKELY = {
    "net": NETS,
    "variant": VARIANTS,
    "runs": RUNS,
    "run": RUNS,
    "images": IMAGES,
    "weights": WEIGHTS,
    "out": OUTPUTS,
    "json": OUTPUTS,
    "plot": OUTPUTS,
}


class Worker:
    """A process that runs commands in a copy of the project."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def ask(self, **request: object) -> dict:
        if self._process is None:
            environment = os.environ | {"PYTHONWARNINGS": "ignore", "RUNS_DIR": "runs"}
            self._process = subprocess.Popen(
                [sys.executable, WORKER],
                cwd=self._folder,
                env=environment | {"PYTHONPATH": str(self._folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._process = None
            return {"code": code, "said": "", "fault": f"the process ended: {code}"}
        return json.loads(line)

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("fuzz") / "project"
    for name in ("swwae", "generator", "templates", "tools", "data"):
        ignored = shutil.ignore_patterns("__pycache__", "*_lmdb")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for place in ("models/vgg8", "solvers/vgg8"):
        shutil.copytree(ROOT / place, folder / place)
    (folder / "build").symlink_to(ROOT / "build")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    write_files(folder)
    worker = Worker(folder)
    yield worker
    worker.end()


def write_files(folder: Path) -> None:
    made_runs.random_weights("swwae-all", folder / "good.caffemodel")
    good = (folder / "good.caffemodel").read_bytes()
    (folder / "cut.caffemodel").write_bytes(good[: len(good) // 2])
    network = caffe_pb2.NetParameter.FromString(good)
    weighted = [layer for layer in network.layer if layer.blobs]
    weighted[1].blobs[0].data[0] = float("nan")
    (folder / "nan.caffemodel").write_bytes(network.SerializeToString())
    del weighted[0].blobs[1:]
    (folder / "other.caffemodel").write_bytes(network.SerializeToString())
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[10:30, 10:30] = 200
    cv2.imwrite(str(folder / "photo.png"), pixels)
    content = (folder / "photo.png").read_bytes()
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    (folder / "net.prototxt").write_text(SMALL)
    (folder / "branched.prototxt").write_text(BRANCHED)
    (folder / "list.txt").write_text("photo.png 0\n")
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "data/x").mkdir()
    for name in ("train_lmdb", "val_lmdb", "test_lmdb"):
        images = [datum_lmdb.image(label % 10, 32) for label in range(20)]
        datum_lmdb.write(folder / "data/x" / name, images)
    result = {"net": "vgg8", "variant": "baseline", "weights": "x", "split": "val"}
    errors = {"scheme": "single-crop", "images": 9, "top1_error": 1, "top5_error": 1}
    (folder / "result.json").write_text(json.dumps(result | errors))
    log = "".join(reported.log_lines(iteration, 2.5) for iteration in (0, 20, 40))
    runs = folder / "runs"
    for variant, stage in (("baseline", 0), ("swwae-all", 4)):
        made_runs.make(runs, variant, stage, folder / "good.caffemodel", log=log)


@pytest.fixture(scope="module")
def options(worker: Worker) -> dict[str, list[dict]]:
    names = (*COMMANDS, "generator")
    return {name: worker.ask(command=name)["options"] for name in names}


def values(option: dict) -> st.SearchStrategy[str]:
    likely = option["choices"] or LIKELY.get(option["name"], (*NUMBERS[:9], *FILES))
    odd = st.sampled_from((*NUMBERS, *TEXTS, *FILES, *NETS, *VARIANTS))
    likely = st.sampled_from(likely)
    return st.one_of(likely, likely, likely, likely, odd)


@st.composite
def command_lines(draw: Callable, known: list[dict]) -> list[str]:
    """Some of a command's options, in any order, most with values of their kind."""
    words: list[str] = []
    named = [option for option in known if option["options"]]
    places = [option for option in known if not option["options"]]
    chosen = draw(st.lists(st.sampled_from(named), max_size=5, unique_by=id))
    for option in chosen:
        word = draw(st.sampled_from(option["options"]))
        count = 0 if option["flag"] else draw(st.integers(1, 1 + 2 * option["many"]))
        given = [draw(values(option)) for _ in range(count)]
        if given and draw(st.integers(0, 7)) == 0:
            word, *given = f"{word}={given[0]}", *given[1:]
        words += [word, *given]
    for option in places:
        count = draw(st.sampled_from((1, 1, 1, 2 if option["many"] else 1, 0)))
        words[:0] = [draw(values(option)) for _ in range(count)]
    if draw(st.integers(0, 9)) == 0:
        words.insert(0, draw(st.sampled_from(("--unknown", "-x", "--", "--n", "-1"))))
    return words


@examples(30)
@given(data=st.data())
def test_command_lines(worker, options, data):
    command = data.draw(st.sampled_from(sorted(options)))
    arguments = data.draw(command_lines(options[command]))
    note(f"{command} {arguments}")
    with counted("command lines"):
        answer = worker.ask(command=command, arguments=arguments)
    assert answer["fault"] is None, answer["fault"]
    assert answer["code"] in (0, 1, 2, "started"), answer
    assert "Traceback" not in answer["said"], answer["said"]
    if answer["code"] in (1, 2):
        assert answer["said"].strip()
