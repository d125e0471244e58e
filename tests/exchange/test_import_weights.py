"""Imported weights against an independent forward on the same photographs.

torch's side is NumPy's arithmetic on the unfolded weights.
"""

from dataclasses import replace

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from safetensors.numpy import save_file

from generator.errors import UserError
from generator.networks import NETWORKS, VGG8
from generator.shapes import Window
from swwae.exchange.exporting import state_dict
from swwae.exchange.folding import border_remark
from swwae.exchange.importing import (
    exact_import,
    from_state_dict,
)
from swwae.exchange.torch_files import read_state_dict
from swwae.nets.normalisation import TORCHVISION, Normalisation, border_change
from tests.helpers import arithmetic, small
from tests.helpers.torch_side import imported, torch_side


def torch_answer(net, params, images, pixels=TORCHVISION):
    """Every blob, of images in [0, 1] (RGB), by NumPy."""
    ordered = images[:, ::-1] if pixels.bgr else images
    mean, std = (np.array(v).reshape(1, -1, 1, 1) for v in (pixels.mean, pixels.std))
    data = (ordered - mean) / std
    return arithmetic.forward(net.layers, params, {"data": data}, caffe.TEST)


@pytest.mark.parametrize("network", [small.SMALL_VGG, small.SMALL_VGG_BN])
@pytest.mark.parametrize(
    "pixels",
    [TORCHVISION, replace(TORCHVISION.reordered(True), std=(0.2, 0.3, 0.1))],
    ids=["RGB", "BGR"],
)
def test_scores_and_activations_are_torchs(network, pixels, tmp_path):
    """Where 255 times the mean is subtracted, exactly and everywhere."""
    net = small.deployed_of(network, "baseline", tmp_path)
    params, tensors = torch_side(net)
    save_file(tensors, tmp_path / "x.safetensors")
    built, folded = imported(net, tmp_path / "x.safetensors", tmp_path, pixels)
    assert (folded.layer, folded.border) == ("conv1_1", 0)
    images = small.images_of(net)
    found = small.answer(built, small.mean_subtracted(net, images))
    expected = torch_answer(net, params, images, pixels)
    for blob in ("conv1_1", "conv1_2/pool", "fc4", "prob"):
        small.assert_close(found[blob], expected[blob])


def test_the_remark_on_the_border_is_the_largest_change(tmp_path):
    """With another mean the fold is exact where no padding is seen, and off by what is
    said where it is."""
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    mean = (100, 120, 130)
    net = replace(net, transformation=replace(net.transformation, mean=mean))
    params, tensors = torch_side(net)
    save_file(tensors, tmp_path / "x.safetensors")
    built, folded = imported(net, tmp_path / "x.safetensors", tmp_path)
    images = small.images_of(net)
    bare = replace(net, layers=caffe_pb2.NetParameter(layer=net.layers.layer[:2]))
    with bare.file() as path:  # the first convolution, before its ReLU
        first = caffe.Net(str(path), caffe.TEST)
    for own, given in zip(
        first.params["conv1_1"], built.params["conv1_1"], strict=True
    ):
        own.data[...] = given.data
    found = small.answer(first, small.mean_subtracted(net, images, mean))["conv1_1"]
    expected = torch_answer(bare, params, images)["conv1_1"]
    change = np.abs(found - expected)
    assert change[:, :, 1:-1, 1:-1].max() < 1e-5
    assert folded.border == pytest.approx(change.max(), rel=1e-3)
    assert folded.border > 0.01
    remark = border_remark(folded, exact_import(net, TORCHVISION))
    assert f"by up to {folded.border:.2g}" in remark
    assert "mean_value 103.53,116.28,123.675" in remark
    built_in = exact_import(replace(net, net="vgg16"), TORCHVISION)
    assert "-m generator vgg16 --mean-value 103.53,116.28,123.675" in built_in


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(11, 4, 2), (3, 1, 1), (5, 2, 0), (7, 2, 3)]
)
def test_the_border_of_any_window(kernel, stride, pad):
    """Against sums over the taps of every place, one by one."""
    random = np.random.default_rng(0)
    filters = random.normal(0, 1, (5, 3, kernel, kernel))
    window = Window((kernel,) * 2, (stride,) * 2, (pad,) * 2)
    wanted = Normalisation((0.3, 0.5, 0.7), (0.2, 0.2, 0.2))
    height, width = 23, 17
    shift = (np.array(wanted.mean) - TORCHVISION.mean) / TORCHVISION.std
    largest = 0
    rows, columns = window.convolved((height, width))
    for y in range(rows):
        for x in range(columns):
            for output in filters:
                total = 0
                for i, j in np.ndindex(kernel, kernel):
                    row, column = y * stride - pad + i, x * stride - pad + j
                    if not (0 <= row < height and 0 <= column < width):
                        total += output[:, i, j] @ shift
                largest = max(largest, abs(total))
    found = border_change(filters, TORCHVISION, wanted, window, (height, width))
    assert found == pytest.approx(largest)
    assert (largest > 0) == (pad > 0)


WITHOUT_BIAS = """
name: "given"
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 6 kernel_size: 3 bias_term: false } }
NORM layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "f" type: "InnerProduct" bottom: "c" top: "f"
  inner_product_param { num_output: 5 transpose: true } }
layer { name: "prob" type: "Softmax" bottom: "f" top: "prob" }
"""
NORM = """
layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
"""


def without_bias(norm):
    """torch's file and the network: images in 0..255, BGR, no mean."""
    net = small.deployed_text(WITHOUT_BIAS.replace("NORM", norm))
    random = np.random.default_rng(2)
    tensors = {
        "0.weight": random.normal(0, 0.3, (6, 3, 3, 3)),
        "4.weight": random.normal(0, 0.1, (5, 600)),
        "4.bias": random.normal(0, 0.1, 5),
    }
    params = {"c": [tensors["0.weight"]], "f": [tensors["4.weight"].T]}
    params["f"].append(tensors["4.bias"])
    if norm:
        statistics = [random.uniform(0.5, 2, 6) for _ in range(4)]
        params |= {"n": [*statistics[:2], np.ones(1)], "s": statistics[2:]}
        names = ("running_mean", "running_var", "weight", "bias")
        tensors |= {f"1.{n}": v for n, v in zip(names, statistics, strict=True)}
    return net, params, {n: v.astype(np.float32) for n, v in tensors.items()}


def test_a_convolution_without_bias_leaves_it_to_the_batch_norm(tmp_path):
    net, params, tensors = without_bias(NORM)
    save_file(tensors, tmp_path / "x.safetensors")
    built, folded = imported(net, tmp_path / "x.safetensors", tmp_path)
    assert folded.border == 0, "there is no padding"
    images = small.images_of(net)
    found = small.answer(built, small.mean_subtracted(net, images, (0, 0, 0)))
    small.assert_close(found["f"], torch_answer(net, params, images)["f"])
    # and back out
    blobs = {n: [b.data.copy() for b in own] for n, own in built.params.items()}
    again, _ = state_dict(net, blobs, "encoder", TORCHVISION)
    for name, values in (
        ("c.weight", "0.weight"),
        ("n.running_mean", "1.running_mean"),
    ):
        np.testing.assert_allclose(again[name], tensors[values], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(again["f.weight"], tensors["4.weight"])


def test_without_bias_and_batch_norm_is_refused(tmp_path):
    net, _, tensors = without_bias("")
    save_file(tensors, tmp_path / "x.safetensors")
    state = read_state_dict(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="c of text has no bias"):
        from_state_dict(state, net, TORCHVISION)
    zero = Normalisation((0, 0, 0), (1, 1, 1))
    result, folded = from_state_dict(state, net, zero)
    assert [layer.name for layer in result.layer] == ["c", "f"]
    assert folded.border == 0


def change(tensors, name, values):
    return {k: v for k, v in tensors.items() if k != name} | (
        {} if values is None else {name: values.astype(np.float32)}
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features.2.weight": np.ones((9, 8, 3, 3))}, "is 9x8x3x3, conv1_2 of small"),
        ({"classifier.0.weight": np.ones((16, 12))}, "fc3 of small_vgg takes 16x"),
        (
            {"features.10.weight": None, "features.10.bias": None},
            "2 Conv2d (features.0",
        ),
        ({"classifier.9.weight": np.ones((2, 2))}, "3 Linear (classifier.0"),
        ({"features.1.running_mean": np.ones(8)}, "and small_vgg no BatchNorm2d"),
        ({"features.1.weight": np.ones(8)}, "neither Conv2d, BatchNorm2d nor Linear"),
        ({"features.2.gain": np.ones(8)}, "features.2.gain in"),
        ({"features.2.weight": np.full((8, 8, 3, 3), np.nan)}, "are not finite"),
    ],
)
def test_what_does_not_fit_is_a_sentence_of_both_sides(changes, words, tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    _, tensors = torch_side(net)
    for name, values in changes.items():
        tensors = change(tensors, name, values)
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(UserError) as caught:
        from_state_dict(read_state_dict(tmp_path / "x.safetensors"), net, TORCHVISION)
    assert words in str(caught.value)


def test_a_missing_bias_is_zero(tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    _, tensors = torch_side(net)
    save_file(change(tensors, "features.2.bias", None), tmp_path / "x.safetensors")
    built, _ = imported(net, tmp_path / "x.safetensors", tmp_path)
    assert not built.params["conv1_2"][1].data.any()
    assert built.params["conv1_1"][1].data.any()


def test_another_built_in_network_is_named(tmp_path):
    """By its shapes alone: nothing of the size is computed with."""
    layers = [la for m in NETWORKS["alexnet_owt"].macro_layers for la in m.layers]
    shapes = [layer.blobs for layer in layers if layer.blobs]
    tensors = {}
    for index, (weight, bias) in enumerate(shapes):
        tensors[f"{index}.weight"] = np.zeros(weight, np.float16)
        tensors[f"{index}.bias"] = np.zeros(bias, np.float16)
    save_file(tensors, tmp_path / "x.safetensors")
    net = small.deployed_of(VGG8, "baseline", tmp_path)
    with pytest.raises(UserError, match="they are of --net alexnet_owt"):
        from_state_dict(
            read_state_dict(tmp_path / "x.safetensors"),
            net,
            Normalisation((0.2,), (1,)),
        )


def as_timm_has_it(tensors):
    """VGG's inner products but the last are convolutions there; a .safetensors has its
    tensors by the alphabet."""
    weight = tensors.pop("classifier.0.weight")
    side = round((weight.shape[1] / 12) ** 0.5)
    moved = {
        "pre_logits.fc1.weight": weight.reshape(16, 12, -1, side),
        "pre_logits.fc1.bias": tensors.pop("classifier.0.bias"),
        "head.fc.weight": tensors.pop("classifier.3.weight"),
        "head.fc.bias": tensors.pop("classifier.3.bias"),
    }
    return tensors | moved


@pytest.mark.parametrize("network", [small.SMALL_VGG, small.SMALL_VGG_BN])
def test_inner_products_as_convolutions_are_the_same(network, tmp_path):
    net = small.deployed_of(network, "baseline", tmp_path)
    params, tensors = torch_side(net)
    save_file(as_timm_has_it(tensors), tmp_path / "x.safetensors")
    built, _ = imported(net, tmp_path / "x.safetensors", tmp_path)
    images = small.images_of(net)
    found = small.answer(built, small.mean_subtracted(net, images))
    small.assert_close(found["prob"], torch_answer(net, params, images)["prob"])


def test_a_single_number_takes_no_more_than_one(tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    _, tensors = torch_side(net)
    wide = replace(net, parameters=net.parameters | {"fc4": [(1, 16), (1,)]})
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="is 11x16, fc4 of small_vgg takes 1x16"):
        from_state_dict(read_state_dict(tmp_path / "x.safetensors"), wide, TORCHVISION)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda whole: whole[:-1], "its header announces"),
        (lambda whole: whole[:20], "its header announces"),
        (lambda whole: whole[:9] + b"}" + whole[10:], "its header is damaged"),
    ],
)
def test_a_safetensors_that_is_not_whole_says_how_much_is_missing(
    change, words, tmp_path
):
    path = tmp_path / "x.safetensors"
    save_file({"w": np.zeros(5, np.float32)}, path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=f"not a whole .safetensors file: .*{words}"):
        read_state_dict(path)
