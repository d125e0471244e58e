"""What training ruins is told: an encoder that collapses, a decoder that dies."""

import json

import numpy as np
import pytest
from activations import Findings, collapsed, dead, examine
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from linear_project import IMAGE, SCALE, Project


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
    said = collapsed(change)
    assert "of conv2/pool to 0.001 of what it was" in said and "conv1" not in said
    assert collapsed({}) is None
    assert collapsed({"a": {"before": 1.0, "after": 0.11}}) is None


AUTOENCODER = """
layer {
  name: "data" type: "DummyData" top: "data"
  dummy_data_param { shape { dim: 50 dim: 2 } data_filler { type: "gaussian" } }
}
layer {
  name: "dec:f1" type: "InnerProduct" bottom: "data" top: "dec:data"
  inner_product_param { num_output: 2 }
}
layer {
  name: "dec:loss@data" type: "EuclideanLoss" bottom: "dec:data" bottom: "data"
  top: "dec:loss@data"
}
"""


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.01, 0.0])
def test_a_decoder_that_makes_one_of_all_images_is_seen(scale, tmp_path):
    (tmp_path / "net.prototxt").write_text(AUTOENCODER)
    weights = caffe_pb2.NetParameter()
    layer = weights.layer.add(name="dec:f1")
    for values in (scale * np.eye(2), np.array([3.0, -1.0])):
        blob = layer.blobs.add()
        blob.shape.dim.extend(values.shape)
        blob.data.extend(values.ravel())
    (tmp_path / "net.caffemodel").write_bytes(weights.SerializeToString())
    found = examine(tmp_path / "net.prototxt", tmp_path / "net.caffemodel", None)
    assert found.activations == {}  # the image is none of the encoder's
    assert found.variances == pytest.approx({"data": scale**2}, rel=1e-4)
    assert (found.warning is None) == (scale > 0.03)


def test_both_ruins_are_told_at_once():
    findings = Findings({"a": {"before": 1.0, "after": 0.01}}, {"a": 0.4, "data": 1e-9})
    assert "encoder has collapsed" in findings.warning
    assert "a decoder is dead: its reconstruction of data is" in findings.warning
    assert dead({"a": 0.4}) is None and Findings({}, {}).warning is None
