"""tools/data_speed.py on a small database of its own."""

import json
import subprocess
from pathlib import Path

import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from swwae.base.project import ROOT
from swwae.bench.data_speed import Measurement, layers_of, report

PROGRAM = ROOT / "tools/data_speed.py"


@pytest.fixture
def database(tmp_path) -> Path:
    folder = tmp_path / "lmdb"
    pixels = np.random.default_rng(0).integers(256, size=(3, 40, 50), dtype=np.uint8)
    datum = caffe_pb2.Datum(data=pixels.tobytes(), channels=3, height=40, width=50)
    with (
        lmdb.open(str(folder)) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"0", datum.SerializeToString())
    return folder


def data_speed(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [PROGRAM, *arguments], check=False, capture_output=True, text=True
    )


def test_every_count_of_threads_is_measured(database, tmp_path):
    made = tmp_path / "speed.json"
    done = data_speed(
        *("--lmdb", database, "--crop", "32", "--shorter-edge", "36", "48"),
        *("--threads", "2,1", "--repetitions", "2", "--seconds", "0.1"),
        *("--json", made),
    )
    assert done.returncode == 0, done.stderr
    rates = json.loads(made.read_text())["images_per_second"]
    assert list(rates) == ["2", "1"]
    assert all(len(of) == 2 and min(of) > 100 for of in rates.values())
    header, two, one = done.stdout.splitlines()
    assert header.split() == ["threads", "images/s", "range", "ratio"]
    assert two.split()[0] == "2" and two.split()[-1] == "1.00" and one.split()[0] == "1"
    assert "repetition 2 of 2, 1 threads: " in done.stderr


def test_the_table_compares_medians_with_the_first_row():
    text = report([Measurement(1, (90, 100, 300)), Measurement(4, (350, 380, 400))])
    assert text.splitlines()[1].split() == ["1", "100", "90-300", "1.00"]
    assert text.splitlines()[2].split() == ["4", "380", "350-400", "3.80"]


def test_only_the_phases_data_layer_is_timed(database):
    path = ROOT / "models/vgg16/swwae-all/train_val.prototxt"
    net = text_format.Parse(path.read_text(), caffe_pb2.NetParameter())
    for layer in net.layer:
        if layer.type == "Data":
            layer.data_param.source = str(database)
    for phase in ("train", "test"):
        text = layers_of(path, net, phase)
        (layer,) = text_format.Parse(text, caffe_pb2.NetParameter()).layer
        assert layer.type == "Data"
        train = layer.include[0].phase == caffe_pb2.TRAIN
        assert train == (phase == "train")
        assert (layer.transform_param.shorter_edge_max > 0) == train


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--lmdb", "nowhere"], "nowhere is no LMDB: a folder that holds a data.mdb"),
        (["--net", "vgg61"], "unknown network 'vgg61'"),
        (["--net", "vgg16", "--threads", "0"], "'0' is no whole number from 1 to"),
        (["--net", "vgg16", "--threads", "two"], "'two' is no whole number from 1"),
        (["--net", "vgg16", "--threads", "100000"], "from 1 to 1024"),
        (["--net", "vgg16", "--seconds", "nan"], "'nan' is no number of seconds"),
        (["--net", "vgg16", "--crop", "99999999999"], "from 0 on"),
    ],
)
def test_mistakes_are_said(arguments, sentence):
    done = data_speed(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert sentence in done.stderr


def test_caffes_refusal_is_passed_on(database):
    done = data_speed("--lmdb", database, "--crop", "9", "--shorter-edge", "8")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "crop_size 9 does not fit into images" in done.stderr
    assert done.stdout == ""
