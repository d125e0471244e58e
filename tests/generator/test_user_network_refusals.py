"""What is refused of users' networks, with which sentence; and what a ladder needs."""

import pytest

from generator.__main__ import main
from generator.ladder import obstacle
from generator.stages import plan
from generator.user_network import Options, read_user_network
from generator.variants import VARIANTS
from tests.helpers import loading

IMAGE = 'layer { name: "data" type: "Input" top: "data" input_param { %s } }'
SHAPE = "shape { dim: 2 dim: 3 dim: 12 dim: 12 }"
BODY = """
layer { name: "c1" type: "Convolution" bottom: "%s" top: "c1"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
%s
layer { name: "f1" type: "InnerProduct" bottom: "p1" top: "f1"
  inner_product_param { num_output: 6 } }
%s
"""


def network_file(folder, head="", blob="data", middle="", tail="", image=None):
    path = folder / "net.prototxt"
    image = IMAGE % SHAPE if image is None else image
    path.write_text(f'name: "mine"\n{image}\n{head}\n{BODY % (blob, middle, tail)}')
    return path


def refused(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    return said


def test_a_layer_in_place_on_the_image(tmp_path, capsys):
    power = 'layer { name: "pw" type: "Power" bottom: "data" top: "data" }'
    path = network_file(tmp_path, power)
    said = refused(capsys, path, "--out", tmp_path / "out")
    assert "layer 'pw' is in the way" in said
    assert "in place on the image" in said
    apart = power.replace('top: "data"', 'top: "scaled"')
    path = network_file(tmp_path, apart, blob="scaled")
    assert main([str(path), "--out", str(tmp_path / "out")]) == 0


def test_another_file_of_the_same_name(tmp_path, capsys):
    out = tmp_path / "out"
    path = network_file(tmp_path)
    assert main([str(path), "--variant", "sae-all", "--out", str(out)]) == 0
    assert main([str(path), "--variant", "swwae-all", "--out", str(out)]) == 0
    capsys.readouterr()
    other = tmp_path / "other.prototxt"
    other.write_text(path.read_text())
    said = refused(capsys, other, "--out", out)
    assert "--name NAME" in said
    assert str(path) in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('max_iter: 9 lr_policy: "fixed"', "base_lr is missing"),
        ('base_lr: -1 max_iter: 9 lr_policy: "fixed"', "base_lr is -1"),
        ('base_lr: nan max_iter: 9 lr_policy: "fixed"', "base_lr is nan"),
        ('base_lr: 1 lr_policy: "fixed"', "max_iter is missing"),
        ('base_lr: 1 max_iter: 9 lr_policy: "steps"', "known: fixed, step"),
        ('base_lr: 1 max_iter: 9 lr_policy: "step" gamma: 1', "needs stepsize"),
        (
            'base_lr: 1 max_iter: 9 lr_policy: "fixed" test_iter: 1',
            "no test_interval",
        ),
        (
            'base_lr: 1 max_iter: 9 lr_policy: "fixed" test_iter: 1 test_iter: 2'
            " test_interval: 3",
            "several networks",
        ),
        ("", "base_lr is missing"),
    ],
)
def test_a_solver_that_cannot_train(text, words, tmp_path, capsys):
    data = (
        'layer { name: "data" type: "Data" top: "data" top: "label"'
        ' data_param { source: "none" batch_size: 2 backend: LMDB } }'
    )
    path = network_file(tmp_path, image=data)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(text)
    arguments = (path, "--image", "3x12x12", "--solver", solver)
    said = refused(capsys, *arguments, "--out", tmp_path / "out")
    assert words in said
    assert not (tmp_path / "out").exists()


def test_the_image_may_be_any_top_of_an_input_layer(tmp_path):
    image = (
        'layer { name: "in" type: "Input" top: "label" top: "data"'
        " input_param { shape { dim: 2 } " + SHAPE + " } }"
    )
    network = read_user_network(network_file(tmp_path, image=image), Options("net"))
    assert network.image.shape == (3, 12, 12)


def test_a_blob_named_mean_costs_the_dump_alone(tmp_path):
    mean = 'layer { name: "m" type: "TanH" bottom: "data" top: "mean" }'
    path = network_file(tmp_path, mean, blob="mean")
    network = read_user_network(path, Options("net"))
    kinds = {file.kind for file in plan(network, VARIANTS["sae-all"]).networks}
    assert "dump" not in kinds
    assert {"train_val", "reconstruct"} < kinds


# --- ladders


def test_a_ladder_of_two_layers_of_one_name_is_refused(tmp_path, capsys):
    again = 'layer { name: "relu" type: "ReLU" bottom: "p1" top: "p1" }'
    path = network_file(tmp_path, middle=again)
    out = tmp_path / "out"
    said = refused(capsys, path, "--variant", "ladder", "--out", out)
    assert "'relu'" in said
    assert main([str(path), "--out", str(out)]) == 0, "all other variants"
    assert not (out / "models/mine/ladder").exists()
    written = capsys.readouterr().out
    assert "\nno ladder: mine can have none, as two of its layers are" in written
    assert (out / "models/mine/swwae-all").exists()


def test_a_ladder_whose_loss_is_out_of_reach_is_refused(tmp_path):
    branches = """
layer { name: "b1" type: "InnerProduct" bottom: "f1" top: "b1"
  inner_product_param { num_output: 3 } }
layer { name: "b2" type: "InnerProduct" bottom: "f1" top: "b2"
  inner_product_param { num_output: 3 } }
"""
    network = read_user_network(network_file(tmp_path, tail=branches), Options("net"))
    assert "'b1'" in obstacle(network)


DROPOUT = """
layer { name: "drop" type: "Dropout" bottom: "p1" top: "p1" include { phase: TRAIN } }
"""
LOSS = """
layer { name: "soft" type: "Softmax" bottom: "f1" top: "soft" }
layer { name: "loss" type: "MultinomialLogisticLoss" bottom: "soft" bottom: "label"
  top: "loss" }
"""


def test_a_ladder_with_dropout_in_training_alone_and_a_softmax_before_the_loss(
    tmp_path,
):
    data = (
        'layer { name: "data" type: "Data" top: "data" top: "label"'
        ' data_param { source: "none" batch_size: 2 backend: LMDB } }'
    )
    path = network_file(tmp_path, middle=DROPOUT, tail=LOSS, image=data)
    network = read_user_network(path, Options("net", (3, 12, 12)))
    for depth in (1, 2):
        loading.check_plan(plan(network, VARIANTS["ladder"], depth))
    layers = plan(network, VARIANTS["ladder"]).networks[0].layers
    read = [
        la.bottoms[0] for la in layers if la.name == "loss" and la.in_phase("TRAIN")
    ]
    assert read == ["noisy:soft"]
