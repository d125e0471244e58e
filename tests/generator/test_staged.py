"""Networks of NVIDIA DIGITS: one file, its layers included by stage."""

import pytest

from generator.errors import UserError
from tests.helpers.user_network import made_of

DATA = (
    'layer {{ name: "{0}-data" type: "Data" top: "data" top: "label"'
    " data_param {{ batch_size: {1} }} include {{ {2} }} }}\n"
)
BODY = """
layer { name: "deploy-data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 1 dim: 12 dim: 12 } } include { stage: "deploy" } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "f" type: "InnerProduct" bottom: "p" top: "f"
  inner_product_param { num_output: 3 } }
layer { name: "accuracy" type: "Accuracy" bottom: "f" bottom: "label" top: "accuracy"
  include { stage: "val" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "label" top: "loss"
  exclude { stage: "deploy" } }
layer { name: "softmax" type: "Softmax" bottom: "f" top: "softmax"
  include { stage: "deploy" } }
"""


def digits(train='stage: "train"', val='stage: "val"'):
    return DATA.format("train", 8, train) + DATA.format("val", 4, val) + BODY


def test_stages_become_phases(parsed):
    network = parsed(digits(), (1, 12, 12))
    assert (network.data.train_batch, network.data.test_batch) == (8, 4)
    assert network.scores.blob == "f"
    layers = made_of(network, "train_val", "swwae-all")
    phases = {
        name: [str(rule["phase"]) for rule in layer.fields.get("include", ())]
        for name, layer in layers.items()
        if not name.startswith("dec:")
    }
    assert phases["train-data"] == ["TRAIN"]
    assert phases["val-data"] == phases["accuracy"] == ["TEST"]
    assert phases["loss"] == phases["c"] == []
    assert not {"softmax", "deploy-data"} & layers.keys()
    assert not any("exclude" in layer.fields for layer in layers.values())


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ('not_stage: "val" not_stage: "deploy"', 'stage: "val"'),
        ('stage: "train" phase: TRAIN', 'stage: "val" phase: TEST'),
        ("phase: TRAIN", 'stage: "val"'),
    ],
)
def test_other_rules_that_say_the_same(train, val, parsed):
    network = parsed(digits(train, val), (1, 12, 12))
    assert (network.data.train_batch, network.data.test_batch) == (8, 4)


def test_other_stages_are_refused_with_what_to_write(parsed):
    text = digits('stage: "fit"', 'stage: "check"').replace('"deploy"', '"use"')
    with pytest.raises(UserError, match=r"by stage \('fit'\).*include \{ phase: TRAIN"):
        parsed(text, (1, 12, 12))


def test_a_stage_beside_phases_stays_out_of_the_way(parsed):
    text = digits("phase: TRAIN", "phase: TEST").replace('"val"', '"other"')
    network = parsed(text, (1, 12, 12))
    assert (network.data.train_batch, network.data.test_batch) == (8, 4)
