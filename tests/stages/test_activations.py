"""What training ruins is told: an encoder that collapses, a decoder that dies."""

import json
import re

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.__main__ import main as generate
from generator.errors import UserError
from generator.networks import NETWORKS
from swwae.base import processes
from swwae.base.project import ROOT
from swwae.nets import building
from swwae.nets.network import read
from swwae.stages.activations import (
    Diagnosis,
    collapse_warning,
    dead_warning,
    diagnose,
)
from tests.helpers.linear_project import IMAGE, SCALE, Project
from tests.helpers.loading import without_data
from tests.helpers.tiny_project import Project as TinyProject


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(tmp_path_factory.mktemp("activations"))
    classifier = ("--weights", "classifier.caffemodel")
    made.run([made.root / "tools/run_stage.sh", 1, *RUN, *classifier])
    return made


RUN = ("--net", "linear", "--variant", "sae-all")
START = "runs/linear/sae-layerwise/stage1/final.caffemodel"


def joint(project, weight, iterations):
    """Stage 4 with the macro-layer's loss weighted so, and decoders that cannot follow
    the encoder: what is said, and recorded."""
    path = project.root / "models/linear/sae-all/train_val.prototxt"
    net = text_format.Parse(path.read_text(), caffe_pb2.NetParameter())
    for layer in net.layer:
        if layer.name == "dec:loss@f1":
            layer.loss_weight[0] = weight
        elif layer.name.startswith("dec:"):
            for parameter in layer.param:
                parameter.lr_mult = 0
    path.write_text(text_format.MessageToString(net))
    solver = project.root / "solvers/linear/sae-all/stage4.prototxt"
    text = solver.read_text()
    before = next(line for line in text.split("\n") if line.startswith("base_lr"))
    solver.write_text(text.replace(before, "base_lr: 0.005"))
    command = [
        project.root / "tools/run_stage.sh",
        4,
        *RUN,
        "--force",
        "--weights",
        START,
    ]
    said = project.run([*command, "--max-iter", iterations])
    folder = project.root / "runs/linear/sae-all/stage4"
    return said, json.loads((folder / "status.json").read_text())


def test_gentle_terms_leave_the_activations(project):
    said, status = joint(project, 1e-6, 3)
    assert "warning" not in said and status["warning"] is None
    image = IMAGE.ravel() * SCALE
    assert np.allclose(project.activations[0], image)
    change = status["activations"]["f1"]
    expected = np.mean(np.square(project.activations[1]))
    assert change["before"] == pytest.approx(expected, rel=1e-4)
    assert change["after"] == pytest.approx(expected, rel=0.05)


def test_a_collapse_is_seen(project):
    said, status = joint(project, 1, 600)
    assert "warning: the encoder has collapsed" in said
    assert "Lower the loss_weight" in said
    change = status["activations"]["f1"]
    assert change["after"] < 0.1 * change["before"]
    assert status["state"] == "finished"


def test_the_sentence_names_what_fell_and_how_far():
    change = {
        "conv1/pool": {"before": 2.0, "after": 1.9},
        "conv2/pool": {"before": 2.0, "after": 0.002},
    }
    said = collapse_warning(change)
    assert "of conv2/pool to 0.001 of what it was" in said and "conv1" not in said
    assert collapse_warning({}) is None
    assert collapse_warning({"a": {"before": 1.0, "after": 0.11}}) is None


AUTOENCODER = """
layer {
  name: "data" type: "DummyData" top: "data"
  dummy_data_param {
    shape { dim: %d dim: 2 } data_filler { type: "%s" }
  }
}
layer {
  name: "dec:f2" type: "InnerProduct" bottom: "data" top: "dec:f2"
  inner_product_param { num_output: 2 }
}
layer { name: "dec:f2/relu" type: "ReLU" bottom: "dec:f2" top: "dec:f2" }
layer {
  name: "dec:f1" type: "InnerProduct" bottom: "dec:f2" top: "dec:data"
  inner_product_param { num_output: 2 }
}
layer {
  name: "dec:loss@data" type: "EuclideanLoss" bottom: "dec:data" bottom: "data"
  top: "dec:loss@data"
}
"""


def decoders(scale):
    """The first of them linear with that factor and a small bias."""
    weights = caffe_pb2.NetParameter()
    for name, factor, bias in ("dec:f2", scale, -1e-6), ("dec:f1", 1.0, 3.0):
        layer = weights.layer.add(name=name)
        for values in (factor * np.eye(2), np.full(2, bias)):
            blob = layer.blobs.add()
            blob.shape.dim.extend(values.shape)
            blob.data.extend(values.ravel())
    return weights.SerializeToString()


@pytest.mark.parametrize(
    ("images", "filler", "scale", "dead"),
    [
        (50, "gaussian", 1.0, []),
        (50, "gaussian", 1e-3, []),  # has hardly learnt yet
        (50, "gaussian", 0.0, ["dec:f2"]),
        (50, "constant", 0.0, []),  # images that are all the same tell nothing
        (1, "gaussian", 0.0, []),
    ],
)
def test_a_dead_decoder_is_seen(images, filler, scale, dead, tmp_path):
    """By its first blob that does not depend on the image."""
    (tmp_path / "net.prototxt").write_text(AUTOENCODER % (images, filler))
    (tmp_path / "net.caffemodel").write_bytes(decoders(scale))
    found = diagnose(tmp_path / "net.prototxt", tmp_path / "net.caffemodel", None)
    assert found == Diagnosis({}, dead)  # the image is none of the encoder's


def test_it_is_seen_by_a_process_that_holds_a_gpu(monkeypatch, tmp_path):
    """Which spawns what others fork, as do those who ask for a network's shapes."""
    monkeypatch.setattr(processes, "_open_files", lambda: ["/dev/nvidia0"])
    net = tmp_path / "net.prototxt"
    net.write_text(AUTOENCODER % (50, "gaussian"))
    (tmp_path / "net.caffemodel").write_bytes(decoders(0.0))
    found = diagnose(net, tmp_path / "net.caffemodel", None)
    assert found == Diagnosis({}, ["dec:f2"])
    shapes = building.parameter_shapes(net)
    assert shapes == {"dec:f2": [(2, 2), (2,)], "dec:f1": [(2, 2), (2,)]}
    net.write_text(net.read_text().replace('bottom: "dec:f2"', 'bottom: "dec:f9"'))
    with pytest.raises(UserError, match="Caffe refuses .*: Unknown bottom blob 'dec:"):
        building.parameter_shapes(net)


def test_stages_without_joint_training_tell_a_dead_decoder(tmp_path):
    """One that starts dead, and learns nothing."""
    made = Project(tmp_path)
    made.vary_images()
    classifier = ("--weights", "classifier.caffemodel")
    stage = made.root / "tools/run_stage.sh"
    made.run([stage, 1, *RUN, *classifier])
    weights = caffe_pb2.NetParameter()
    weights.ParseFromString((made.root / START).read_bytes())
    for layer in weights.layer:
        if layer.name == "dec:f2":
            for blob in layer.blobs:
                blob.data[:] = [0.0] * len(blob.data)
    (tmp_path / "dead.caffemodel").write_bytes(weights.SerializeToString())
    solver = made.root / "solvers/linear/sae-layerwise/stage2.prototxt"
    before = next(la for la in solver.read_text().split("\n") if "base_lr:" in la)
    solver.write_text(solver.read_text().replace(before, "base_lr: 0"))
    run = [stage, 2, *RUN, "--max-iter", 1, "--force", "--weights"]
    status = made.root / "runs/linear/sae-layerwise/stage2/status.json"
    made.run([*run, START])
    assert json.loads(status.read_text())["warning"] is None
    said = made.run([*run, "dead.caffemodel"])
    told = "a part of the decoder is dead: dec:f1[2] is the same for every image"
    assert f"warning: {told}" in said, said
    assert json.loads(status.read_text())["warning"].startswith(told)


def test_both_ruins_are_told_at_once():
    diagnosis = Diagnosis({"a": {"before": 1.0, "after": 0.01}}, ["dec:b", "dec:c"])
    assert "encoder has collapsed" in diagnosis.warning
    assert "dead: dec:b, dec:c is the same for every image" in diagnosis.warning
    assert dead_warning([]) is None and Diagnosis({}, []).warning is None


CLASSIFIER = """
layer {
  name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 20 dim: 2 } shape { dim: 20 }
    data_filler { type: "gaussian" } data_filler { type: "constant" }
  }
}
layer {
  name: "f1" type: "InnerProduct" bottom: "data" top: "f1"
  inner_product_param { num_output: 2 }
}
layer { name: "f1/relu" type: "ReLU" bottom: "f1" top: "f1" }
layer { name: "f1/dropout" type: "Dropout" bottom: "f1" top: "f1/kept" }
layer {
  name: "f2" type: "InnerProduct" bottom: "f1/kept" top: "f2"
  inner_product_param { num_output: 2 }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f2" bottom: "label" top: "loss" }
"""
DECODED = """
layer {
  name: "dec:f1" type: "InnerProduct" bottom: "f1/kept" top: "dec:data"
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 1 } }
}
layer {
  name: "dec:loss@data" type: "EuclideanLoss" bottom: "dec:data" bottom: "data"
  top: "dec:loss@data"
}
"""


@pytest.mark.parametrize("decoder", ["", DECODED], ids=["stage 0", "with a decoder"])
@pytest.mark.parametrize(("bias", "dead"), [(0.0, []), (-99.0, ["f1"])])
def test_a_dead_encoder_is_named_and_not_what_reads_it(decoder, bias, dead, tmp_path):
    """Not the decoder, and not the scores, all of which are 0 at the beginning."""
    path = tmp_path / "net.prototxt"
    path.write_text(CLASSIFIER + decoder)
    net = caffe.Net(str(path), caffe.TEST)
    net.params["f1"][0].data[...] = np.eye(2)
    net.params["f1"][1].data[...] = bias
    net.save(str(tmp_path / "net.caffemodel"))
    found = diagnose(path, tmp_path / "net.caffemodel", None)
    assert found == Diagnosis({}, dead)
    if dead:
        said = "a part of the encoder is dead: f1 is the same for every image"
        assert found.warning.startswith(said)


def test_the_encoder_is_looked_at_from_stage_0_on(tmp_path):
    """A bias that nothing can bring back, and a rate that changes nothing."""
    made = TinyProject(tmp_path / "project")
    net = made.root / "models/tiny/baseline/train_val.prototxt"
    filler = 'weight_filler { type: "xavier" }\n  }\n}\nlayer { name: "conv1/relu"'
    dead = filler.replace("}", '} bias_filler { type: "constant" value: -99 }', 1)
    assert filler in net.read_text()
    net.write_text(net.read_text().replace(filler, dead))
    said = made.run(0)
    assert "warning: a part of the encoder is dead: conv1 is the same" in said
    assert made.status("baseline", 0)["warning"].startswith("a part of the encoder")


OVERLAPPING = """
name: "overlapping"
layer {
  name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 3 dim: 1 dim: 12 dim: 12 } shape { dim: 3 }
    data_filler { type: "gaussian" } data_filler { type: "constant" }
  }
}
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer {
  name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 }
}
layer {
  name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 }
}
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer {
  name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 }
}
layer {
  name: "fc" type: "InnerProduct" bottom: "pool2" top: "fc"
  inner_product_param { num_output: 2 }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("variant", ["sae-all", "sae-layerwise", "swwae-all", "ladder"])
def test_what_is_the_same_by_construction_is_not_dead(variant, tmp_path):
    """How many values overlapping windows put on a place, averages or fixed ones."""
    (tmp_path / "net.prototxt").write_text(OVERLAPPING)
    arguments = [str(tmp_path / "net.prototxt"), "--variant", variant]
    assert generate([*arguments, "--out", str(tmp_path / "out")]) == 0
    path = tmp_path / f"out/models/overlapping/{variant}/train_val.prototxt"
    net = caffe.Net(str(path), caffe.TEST)
    random = np.random.default_rng(0)
    for blobs in net.params.values():
        blobs[0].data[...] = random.normal(0, 1, blobs[0].shape)
    net.forward()
    masks = [name for name in net.blobs if name.endswith("/unpool/mask")]
    assert any(np.all(net.blobs[m].data == net.blobs[m].data[0]) for m in masks)
    net.save(str(tmp_path / "net.caffemodel"))
    assert diagnose(path, tmp_path / "net.caffemodel", None).dead == []


def varied(text: str, shape: tuple[int, ...]) -> str:
    """A generated network with eight channels everywhere, and noise for its data."""
    net = without_data(
        re.sub(r"num_output: \d{2,}", "num_output: 8", text), shape, "data", batch=3
    )
    for layer in net.layer:
        if layer.type != "Input":
            continue
        layer.type = "DummyData"
        layer.dummy_data_param.shape.add().CopyFrom(layer.input_param.shape[0])
        kind = "gaussian" if layer.top[0] == "data" else "constant"
        layer.dummy_data_param.data_filler.add(type=kind, std=50)
        layer.ClearField("input_param")
    return text_format.MessageToString(net)


@pytest.mark.parametrize("variant", ["baseline", "sae-all", "swwae-layerwise"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_no_network_here_is_dead_by_construction(network, variant, tmp_path):
    """In any part, of 13 convolutions as of overlapping windows."""
    path = tmp_path / "net.prototxt"
    kept = ROOT / f"models/{network.name}/{variant}/train_val.prototxt"
    path.write_text(varied(kept.read_text(), network.image.shape))
    net = caffe.Net(str(path), caffe.TEST)
    random = np.random.default_rng(0)
    normalising = {la.name for la in read(path).layer if la.type == "BatchNorm"}
    for name, blobs in net.params.items():
        for index, blob in enumerate(blobs):
            if name in normalising:  # mean, variance, and by what both are divided
                blob.data[...] = min(index, 1)
                continue
            deviation = (2 / max(1, np.prod(blob.shape[1:]))) ** 0.5
            blob.data[...] = 0.1 if index else random.normal(0, deviation, blob.shape)
    net.save(str(tmp_path / "net.caffemodel"))
    assert diagnose(path, tmp_path / "net.caffemodel", None).dead == []
