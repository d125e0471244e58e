"""`layers { type: "Convolution" }`: read as what it means."""

import pytest

from generator.errors import UserError
from generator.schema import read_network
from generator.user_network import Options, read_user_network
from tests.generator.test_user_network_hostile import CONV, FC, GOOD, INPUT, POOL


@pytest.fixture
def names(tmp_path):
    def names(text):
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        return [(layer.name, layer.type) for layer in read_network(path).layer]

    return names


def test_names_in_quotation_marks_are_todays_syntax(names):
    wrong = GOOD.replace("layer {", "layers {").replace("data", "layers")
    assert names(wrong) == names(GOOD.replace("data", "layers"))


def test_one_of_them_is_enough(names):
    comment = "# layers { type: CONVOLUTION }\n"
    wrong = INPUT + comment + CONV.replace("layer {", "layers{\n") + POOL + FC
    assert names(wrong) == names(GOOD)


def test_capital_letters_are_the_older_syntax(names):
    older = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n' + (
        'layer { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1'
        " weight_decay: 1 convolution_param { num_output: 4 kernel_size: 3 } }\n"
    )
    assert ("c", "Convolution") in names(older)
    assert names(older) == names(older.replace("layer {", "layers {"))


@pytest.mark.parametrize(
    "text",
    [
        'layers { type: "Convolution" ',
        'layers { type: "Convolution" blobs_lr: 1 }',
        'layers { type: "Convolution" } layers { type: CONVOLUTION ] }',
    ],
)
def test_what_is_still_wrong_is_said(text, names):
    with pytest.raises(UserError, match="is no Caffe network file: line"):
        names(text)


def test_it_is_generated_from(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(GOOD.replace("layer {", "layers {"))
    assert read_user_network(path, Options("given")).max_depth == 2
