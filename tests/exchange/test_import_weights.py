"""Imported weights against an independent forward on the same photographs.

torch's side is NumPy's arithmetic on the unfolded weights, or, where torch is
installed, torchvision's own networks.
"""

import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from safetensors.numpy import save_file

from generator.__main__ import main as generator
from generator.errors import UserError
from generator.networks import NETWORKS, VGG8
from generator.shapes import Window
from swwae.base.project import ROOT
from swwae.exchange.exporting import load, state_dict
from swwae.exchange.folding import border_remark, first_layer
from swwae.exchange.importing import (
    chosen_normalisation,
    exact_import,
    from_caffemodel,
    from_state_dict,
)
from swwae.exchange.torch_files import read_state_dict
from swwae.nets import weights
from swwae.nets.deployed import deployed
from swwae.nets.normalisation import TORCHVISION, Normalisation, border_change
from tests.helpers import arithmetic, small

NAMES = {
    "small_vgg": {
        "conv1_1": "features.0",
        "conv1_2": "features.2",
        "conv2_1": "features.10",  # behind features.2 in order, before it in letters
        "fc3": "classifier.0",
        "fc4": "classifier.3",
    },
    "small_vgg_bn": {
        "conv1_1": "features.0",
        "conv1_1/bn": "features.1",
        "conv1_2": "features.3",
        "conv1_2/bn": "features.4",
        "conv2_1": "features.7",
        "conv2_1/bn": "features.10",
        "fc3": "classifier.0",
        "fc4": "classifier.3",
    },
}


def torch_side(net, seed=3):
    """Random parameters of a network that reads normalised RGB: as Caffe has them, for
    NumPy, and under torch's names."""
    random = np.random.default_rng(seed)
    params, tensors = {}, {}
    for layer, name in NAMES[net.net].items():
        shapes = net.parameters[layer]
        if layer.endswith("/bn"):
            channels = shapes[0]
            mean, beta = (random.normal(0, 0.5, channels) for _ in range(2))
            variance, gamma = (random.uniform(0.5, 2, channels) for _ in range(2))
            params[layer] = [mean, variance, np.ones(1)]
            params[layer.replace("/bn", "/scale")] = [gamma, beta]
            tensors |= {
                f"{name}.running_mean": mean,
                f"{name}.running_var": variance,
                f"{name}.weight": gamma,
                f"{name}.bias": beta,
            }
            continue
        deviation = (2 / np.prod(shapes[0][1:])) ** 0.5
        own = [random.normal(0, deviation, shapes[0]), random.normal(0, 0.1, shapes[1])]
        params[layer] = own
        tensors |= {f"{name}.weight": own[0], f"{name}.bias": own[1]}
    tensors = {name: values.astype(np.float32) for name, values in tensors.items()}
    if net.net.endswith("_bn"):
        tensors["features.1.num_batches_tracked"] = np.array(7, np.int64)
    return params, tensors


def torch_answer(net, params, images, pixels=TORCHVISION):
    """Every blob, of images in [0, 1] (RGB), by NumPy."""
    ordered = images[:, ::-1] if pixels.bgr else images
    mean, std = (np.array(v).reshape(1, -1, 1, 1) for v in (pixels.mean, pixels.std))
    data = (ordered - mean) / std
    return arithmetic.forward(net.layers, params, {"data": data}, caffe.TEST)


def imported(net, state_file, folder, pixels=TORCHVISION):
    """The network in pycaffe with what a state dict gives, and the fold."""
    result, folded = from_state_dict(read_state_dict(state_file), net, pixels)
    out = folder / "imported.caffemodel"
    weights.save(result, out)
    return load(net, out), folded


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


# --- .caffemodel


def caffemodel(net, params, version):
    """A file of Caffe's current format, or of one of the two older ones."""
    message = caffe_pb2.NetParameter(name="old")
    for name, blobs in params.items():
        if version == "V2":
            layer = message.layer.add(name=name)
        else:
            layer = message.layers.add()
            layer = layer.layer if version == "V0" else layer
            layer.name = name
        for values in blobs:
            blob = layer.blobs.add()
            if version == "V2":
                blob.shape.dim[:] = values.shape
            else:
                four = (1,) * (4 - values.ndim) + values.shape
                blob.num, blob.channels, blob.height, blob.width = four
            blob.data.extend(values.ravel().tolist())
    return message


@pytest.mark.parametrize("version", ["V0", "V1", "V2"])
def test_a_caffemodel_of_any_format_is_copied_exactly(version, tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "swwae-first", tmp_path)
    params, _ = torch_side(net)
    del params["fc4"]
    params["old"] = [np.ones((2, 2))]
    file = tmp_path / "old.caffemodel"
    file.write_bytes(caffemodel(net, params, version).SerializeToString())
    result, comparison = from_caffemodel(weights.load(file), net, file)
    assert comparison.copied == ["conv1_1", "conv1_2", "conv2_1", "fc3"]
    assert comparison.missing[:2] == ["fc4", "dec:conv2_1"]
    assert comparison.unused == ["old"]
    assert [layer.name for layer in result.layer] == comparison.copied
    for name, blobs in weights.blobs(result).items():
        for blob, expected in zip(blobs, params[name], strict=True):
            assert weights.shape(blob) == expected.shape
            np.testing.assert_array_equal(
                weights.array(blob), expected.astype(np.float32)
            )


def test_a_caffemodel_that_diverged_is_refused(tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    params, _ = torch_side(net)
    params["fc4"][0] = np.full_like(params["fc4"][0], np.inf)
    given = caffemodel(net, params, "V2")
    with pytest.raises(UserError, match="layer fc4 of .* not finite"):
        from_caffemodel(given, net, tmp_path / "x.caffemodel")


def test_a_caffemodel_of_another_network_is_refused(tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    file = tmp_path / "x.caffemodel"
    other = caffemodel(net, {"conv1_1": [np.ones((9, 3, 3, 3)), np.ones(9)]}, "V1")
    with pytest.raises(UserError, match="conv1_1 has the shapes 9x3x3x3, 1x1x1x9"):
        from_caffemodel(other, net, file)
    with pytest.raises(UserError, match="has no layer of small_vgg"):
        from_caffemodel(caffemodel(net, {"a": [np.ones((1, 1))]}, "V2"), net, file)


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 4), (128,), (2, 3, 5, 7), (70000,)])
def test_a_blob_is_what_protobuf_would_write(shape):
    values = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    expected = caffe_pb2.BlobProto(data=values.ravel().tolist())
    expected.shape.dim[:] = shape
    assert weights.message(values) == expected


# --- options, files, the command


def test_normalisations(tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "baseline", tmp_path)
    assert chosen_normalisation(net) == TORCHVISION
    assert chosen_normalisation(net, bgr=True).mean == (0.406, 0.456, 0.485)
    grey = small.deployed_of(VGG8, "baseline", tmp_path)
    chosen = chosen_normalisation(grey)
    assert chosen.mean == pytest.approx((55.845 / 255,)) and chosen.std == (1,)
    scaled = first_layer(grey)
    assert scaled.layer.name == "conv1_1"
    assert scaled.pixels.std == pytest.approx(
        (1,), rel=1e-6
    )  # data/scaled is before it
    nan, inf = float("nan"), float("inf")
    for wrong in (
        {"mean": (0.5,)},
        {"mean": (0, nan, 0)},
        {"std": (1, 1)},
        {"std": (1, 0, 1)},
        {"std": (1, inf, 1)},
    ):
        with pytest.raises(UserError, match=next(iter(wrong))):
            chosen_normalisation(net, **wrong)


def test_a_type_that_numpy_has_not_is_said(tmp_path):
    header = b'{"conv1_1.weight":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    file = tmp_path / "x.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(UserError, match="BF16, .* float32"):
        read_state_dict(file).array("conv1_1.weight")


def test_without_torch_the_sentence_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.pth").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[torch\]'"):
        read_state_dict(tmp_path / "x.pth")


def command(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "tools/import_weights.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("no.safetensors", [], "No such file"),
        ("x.bin", [], "a state dict (.safetensors, .pth, .pt) or a .caffemodel"),
        ("cut.safetensors", [], "is not a whole .safetensors file"),
        ("cut.caffemodel", [], "is not a whole .caffemodel"),
        ("cut.caffemodel", ["--mean", "1,2,3"], "are for state dicts"),
        ("cut.safetensors", ["--mean", "1;2"], "numbers separated by commas"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(name, more, words, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    (tmp_path / "cut.caffemodel").write_bytes(b"\x0a\x40vgg")
    out = tmp_path / "out.caffemodel"
    done = command(tmp_path / name, "--net", "vgg8", "--out", out, *more)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_the_command_brings_back_what_was_exported(tmp_path):
    """vgg8, a built-in network: grey, its scale in a layer of its own."""
    net = deployed("vgg8", "swwae-first")
    file = tmp_path / "vgg8.caffemodel"
    before = small.weighted(net, file)
    for tool, source, out in (
        ("export_weights", file, tmp_path / "vgg8.safetensors"),
        ("import_weights", tmp_path / "vgg8.safetensors", tmp_path / "b.caffemodel"),
    ):
        arguments = ["--net", "vgg8", "--variant", "swwae-first", "--out", out]
        arguments += ["--part", "both"] if tool == "export_weights" else []
        done = subprocess.run(
            [sys.executable, ROOT / f"tools/{tool}.py", source, *arguments],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "exact everywhere" in done.stdout
    after = load(net, tmp_path / "b.caffemodel")
    for name, blobs in before.params.items():
        for blob, other in zip(blobs, after.params[name], strict=True):
            np.testing.assert_allclose(other.data, blob.data, rtol=1e-5, atol=1e-6)


# --- the generator's --mean-value


def test_mean_value_is_subtracted_and_noted(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    arguments = [
        "vgg16",
        "--variant",
        "baseline",
        "--mean-value",
        "103.53,116.28,123.675",
    ]
    assert generator([*arguments, *out]) == 0
    text = (tmp_path / "models/vgg16/baseline/train_val.prototxt").read_text()
    assert re.findall(r"mean_value: (\S+)", text) == ["103.53", "116.28", "123.675"] * 2
    head = text.partition("\n")[0]
    assert "vgg16 --variant baseline --mean-value 103.53,116.28,123.675`" in head
    capsys.readouterr()


@pytest.mark.parametrize(
    ("net", "text"),
    [
        ("vgg16", "103.53"),
        ("vgg16", "103.53,116.28,300"),
        ("vgg16", "1,2,x"),
        ("vgg8", "1,2,3"),
        (str(ROOT / "tests/networks/nin.prototxt"), "1,2,3"),
    ],
)
def test_other_mean_values_are_refused(net, text, tmp_path, capsys):
    arguments = [net, "--mean-value", text, "--out", str(tmp_path / "out")]
    assert generator(arguments) == 2
    assert "--mean-value" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- torch itself


@pytest.fixture(scope="module")
def torchvision():
    """torchvision's models. Beside a torch without CUDA its compiled operators are not
    found; the classifiers use none of them, but its import names two."""
    torch = pytest.importorskip("torch")
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed: pip install -e '.[torch]'")
    try:
        import torchvision
    except RuntimeError:
        for name in [n for n in sys.modules if n.startswith("torchvision")]:
            del sys.modules[name]
        operators = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor boxes, Tensor scores, float t) -> Tensor")
        import torchvision

        torchvision.operators = operators  # they last as long as it does
    return torchvision


def he(model, torch):
    """Random weights that keep activations sane (He et al. 2015)."""
    chosen = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            deviation = (2 / module.weight[0].numel()) ** 0.5
            module.weight.data.normal_(0, deviation, generator=chosen)
            module.bias.data.normal_(0, 0.1, generator=chosen)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=chosen)
            module.bias.data.normal_(0, 0.1, generator=chosen)
            module.running_mean.normal_(0, 0.3, generator=chosen)
            module.running_var.uniform_(0.5, 2, generator=chosen)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "net", "file"),
    [
        ("alexnet", "alexnet_owt", "weights.pth"),
        ("vgg16", "vgg16", "weights.safetensors"),
        ("vgg16_bn", "vgg16_bn", "weights.pt"),
    ],
)
def test_torchvisions_networks_answer_the_same(name, net, file, torchvision, tmp_path):
    """At their real size, on the same photographs: scores and probabilities; and the
    state dict that comes back out is the one that went in."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    more = {} if name == "alexnet" else {"init_weights": False}
    model = he(getattr(torchvision.models, name)(**more), torch)
    path = tmp_path / file
    if path.suffix == ".safetensors":
        save_torch(model.state_dict(), path)
    else:  # as distributed training leaves it
        nested = {f"module.{key}": value for key, value in model.state_dict().items()}
        torch.save({"epoch": 3, "state_dict": nested}, path)
    target = deployed(net, "baseline")
    if net == "vgg16":  # as `--mean-value` makes it
        other = deployed("vgg16_bn", "baseline")
        target = replace(target, transformation=other.transformation)
    built, folded = imported(target, path, tmp_path)
    assert folded.border == 0
    images = small.photographs(224, 224, 3)
    mean, std = (
        np.float32(v).reshape(1, 3, 1, 1) for v in (TORCHVISION.mean, TORCHVISION.std)
    )
    with torch.no_grad():
        expected = model(torch.from_numpy((images - mean) / std))
        probabilities = expected.softmax(dim=1).numpy()
    found = small.answer(built, small.mean_subtracted(target, images))
    small.assert_close(found["fc8"], expected.numpy())
    small.assert_close(found["prob"], probabilities)

    blobs = {n: [blob.data for blob in own] for n, own in built.params.items()}
    again, _ = state_dict(target, blobs, "encoder", TORCHVISION)
    before = model.state_dict()
    assert set(again) == set(before)
    for key, values in again.items():
        given = before[key].numpy()
        assert values.dtype == given.dtype and values.shape == given.shape
        assert np.abs(values - given).max() <= 1e-6 * np.abs(given).max()


def test_nonsense_in_a_pth_is_a_sentence(torchvision, tmp_path):
    torch = pytest.importorskip("torch")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    torch.save({0: torch.ones(1)}, tmp_path / "numbered.pth")
    torch.save({"w": torch.ones(1).to_sparse()}, tmp_path / "sparse.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04cut")
    (tmp_path / "stack.pth").write_bytes(b"\x80\x02.")
    for name, words in {
        "list": "holds no state dict",
        "epoch": "holds no state dict",
        "module": "is not a whole state dict of torch",
        "numbered": "holds no state dict",
        "sparse": "w in .* is no plain tensor",
        "cut": "is not a whole state dict of torch",
        "stack": "is not a whole state dict of torch",
    }.items():
        with pytest.raises(UserError, match=words):
            read_state_dict(tmp_path / f"{name}.pth")
