"""Exported models against pycaffe: ONNX by onnxruntime, state dicts by numbers."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file

from generator.errors import UserError
from generator.networks import VGG8, VGG16
from generator.stages import plan
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from swwae.exchange.built import built_network
from swwae.exchange.exporting import export_onnx, export_safetensors, load
from swwae.exchange.importing import from_state_dict
from swwae.exchange.onnx_model import model
from swwae.exchange.torch_files import read_state_dict
from swwae.nets.normalisation import TORCHVISION, Normalisation
from tests.helpers import loading, small

MEANS = {"small_vgg": (103.53, 116.28, 123.675), "vgg8": (55.845,)}
DECODERS = [name for name, variant in VARIANTS.items() if variant.has_decoder]
ODDITIES = (ROOT / "tests/networks/oddities.prototxt").read_text()


def session(made) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(made, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(made.SerializeToString(), options)


def run(made, **inputs):
    """Output name -> values."""
    running = session(made)
    names = [output.name for output in running.get_outputs()]
    return dict(zip(names, running.run(None, inputs), strict=True))


def data_of(net, images):
    """As the network's data layers make it, from images in [0, 1]; and back."""
    if net.image[0] == 1:
        return (images * 255 - MEANS["vgg8"][0]).astype(np.float32)
    return small.mean_subtracted(net, images, MEANS["small_vgg"])


def pixels_of(net, reconstruction):
    """[0, 1] of dec:data."""
    mean = MEANS["vgg8"] if net.image[0] == 1 else MEANS["small_vgg"]
    whole = reconstruction + np.array(mean).reshape(1, -1, 1, 1) / 255
    return whole[:, ::-1]


CASES = [
    pytest.param(network, variant, depth, id=f"{network.name}-{variant}-{depth}")
    for network, depths in (
        (VGG8, (None, 5)),
        (small.SMALL_ALEXNET, (None, 2, 5)),
        (small.SMALL_VGG_BN, (None,)),
    )
    for variant in DECODERS
    for depth in depths
]


@pytest.mark.parametrize(("network", "variant", "depth"), CASES)
def test_the_whole_model_answers_as_caffe_does(network, variant, depth, tmp_path):
    """Image in, probabilities and reconstruction out, for a batch that the deploy file
    does not name; every part by itself, too."""
    net = small.deployed_of(network, variant, tmp_path, depth)
    built = small.weighted(net, tmp_path / "w.caffemodel")
    made = {
        part: model(built_network(net, built), part, net.pixels)
        for part in ("encoder", "decoder", "both")
    }
    images = small.images_of(net)
    expected = small.answer(built, data_of(net, images))

    both = run(made["both"], image=images)
    assert list(both) == ["probabilities", "reconstruction"]
    small.assert_close(both["probabilities"], expected["prob"])
    small.assert_close(both["reconstruction"], pixels_of(net, expected["dec:data"]))

    encoded = run(made["encoder"], image=images)
    np.testing.assert_array_equal(encoded.pop("probabilities"), both["probabilities"])
    assert {i.name for i in made["decoder"].graph.input} == set(encoded)
    decoded = run(made["decoder"], **encoded)
    assert list(decoded) == ["reconstruction"]
    np.testing.assert_allclose(
        decoded["reconstruction"], both["reconstruction"], atol=1e-6
    )


def test_the_decoder_takes_caffes_own_switches(tmp_path):
    """A place's index in its plane, whichever image of a batch it is of."""
    net = small.deployed_of(VGG8, "swwae-first", tmp_path)
    built = small.weighted(net, tmp_path / "w.caffemodel")
    blobs = small.answer(built, data_of(net, small.images_of(net, 3)))
    made = model(built_network(net, built), "decoder", net.pixels)
    names = [value.name for value in made.graph.input]
    masks = [name for name in names if name.endswith("-mask")]
    assert len(masks) == 3 and len(names) == 4
    inputs = {
        name: blobs[name].astype(np.int64 if name in masks else np.float32)
        for name in names
    }
    found = run(made, **inputs)["reconstruction"]
    small.assert_close(found, pixels_of(net, blobs["dec:data"]))


def test_raw_takes_and_yields_what_the_network_does(tmp_path):
    net = small.deployed_of(small.SMALL_VGG, "swwae-all", tmp_path)
    built = small.weighted(net, tmp_path / "w.caffemodel")
    data = data_of(net, small.images_of(net))
    expected = small.answer(built, data)
    found = run(model(built_network(net, built), "both", None), data=data)
    small.assert_close(found["probabilities"], expected["prob"])
    small.assert_close(found["reconstruction"], expected["dec:data"])


def odd(text, variant, folder):
    """A user's network of odd layers: how it is exported, and in pycaffe."""
    net = small.deployed_of(small.given(text, folder), variant, folder)
    built = small.weighted(net, folder / "w.caffemodel")
    return net, built, built_network(net, built)


def test_normalising_within_channels_is_refused_by_name(tmp_path):
    _, _, described = odd(ODDITIES, "swwae-first", tmp_path)
    with pytest.raises(UserError, match=r"n1 \(LRN\) normalises within channels"):
        model(described, "both", None)


@pytest.mark.parametrize("variant", DECODERS)
def test_odd_layers(variant, tmp_path):
    """Padded and overlapping windows, dilation, groups, averages, every function."""
    text = ODDITIES.replace("WITHIN_CHANNEL", "ACROSS_CHANNELS")
    net, built, described = odd(text, variant, tmp_path)
    data = (small.images_of(net) - 0.5).astype(np.float32)
    expected = small.answer(built, data)
    found = run(model(described, "both", None), data=data)
    small.assert_close(found["probabilities"], expected["probability"])
    small.assert_close(found["reconstruction"], expected["dec:data"])


def test_vgg16_at_its_real_size(tmp_path):
    """224 x 224 and every channel; the inner products are thinned.

    Where a photograph is plain, a window's values are equal but for rounding, which
    chooses another maximum on each side, and the decoder puts its value elsewhere: so
    it is given Caffe's switches.
    """
    text = loading.texts(plan(VGG16, VARIANTS["swwae-all"]))["deploy"]
    net = small.deployed_text(loading.thinned(text))
    built = small.weighted(net, tmp_path / "w.caffemodel")
    data = small.mean_subtracted(net, small.images_of(net, 1)) / 60
    expected = small.answer(built, data)
    described = built_network(net, built)
    encoded = run(model(described, "encoder", None), data=data)
    small.assert_close(encoded.pop("probabilities"), expected["prob"])
    top = encoded.pop("conv5_3/pool")
    small.assert_close(top, expected["conv5_3/pool"])
    assert len(encoded) == 5
    for name, switches in encoded.items():
        activation = expected[name.removesuffix("/pool-mask")][0]
        planes = activation.reshape(len(activation), -1)
        both = switches, expected[name].astype(np.int64)
        chosen = [
            np.take_along_axis(planes, s[0].reshape(len(planes), -1), 1) for s in both
        ]
        small.assert_close(*chosen, tolerance=1e-5)
    inputs = {name: expected[name].astype(np.int64) for name in encoded}
    inputs["conv5_3/pool"] = expected["conv5_3/pool"]
    found = run(model(described, "decoder", None), **inputs)
    small.assert_close(found["reconstruction"], expected["dec:data"])


LAYERS = """
name: "layers"
layer {{ name: "data" type: "Input" top: "data"
  input_param {{ shape {{ dim: 1 dim: 4 dim: 9 dim: 8 }} }} }}
{}
layer {{ name: "prob" type: "Softmax" bottom: "x" top: "prob" }}
"""


@pytest.mark.parametrize(
    "layers",
    [
        'type: "MVN" mvn_param { across_channels: true eps: 1e-3 }',
        'type: "MVN" mvn_param { normalize_variance: false }',
        'type: "BNLL"',
        'type: "ReLU" relu_param { negative_slope: 0.2 }',
        'type: "PReLU" prelu_param { channel_shared: true }',
        'type: "Power" power_param { power: 2 scale: 0.5 shift: 3 }',
        'type: "Bias"',
        'type: "Scale" scale_param { axis: 2 num_axes: 2 bias_term: true }',
        'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }',
        'type: "Pooling" pooling_param { pool: AVE kernel_size: 4 stride: 3 pad: 2 }',
        'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }',
        'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
        'type: "Pooling" pooling_param { kernel_size: 4 stride: 3 round_mode: FLOOR }',
        'type: "Deconvolution" convolution_param { num_output: 6 kernel_size: 3'
        " stride: 2 pad: 1 group: 2 }",
        'type: "Eltwise" bottom: "data" eltwise_param { operation: SUM coeff: 2'
        " coeff: -0.5 }",
        'type: "Eltwise" bottom: "data" eltwise_param { operation: MAX }',
        'type: "Concat" bottom: "data" concat_param { axis: 2 }',
        'type: "Depooling" pooling_param { pool: FIX fix: 0 kernel_size: 3 stride: 2'
        " pad: 1 }",
        'type: "Depooling" pooling_param { pool: FIX fix_y: 2 fix_x: 1 kernel_size: 3'
        " stride: 2 pad: 1 }",
        'type: "Depooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }',
    ],
    ids=lambda text: text.replace('"', "")[6:46],
)
def test_one_layer(layers, tmp_path):
    line = f'layer {{ name: "x" bottom: "data" top: "x" {layers} }}'
    net = small.deployed_text(LAYERS.format(line))
    built = small.weighted(net, tmp_path / "w.caffemodel")
    described = built_network(net, built)
    random = np.random.default_rng(1)
    data = random.normal(0.1, 1, (3, 4, 9, 8)).astype(np.float32)
    expected = small.answer(built, data)["prob"]
    small.assert_close(
        run(model(described, "encoder", None), data=data)["probabilities"], expected
    )


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ('type: "ArgMax"', "layer x is of type ArgMax"),
        ('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }', "random"),
        (
            'type: "Pooling" pooling_param { pool: MAX kernel_size: 2 stride: 4 }',
            "last window that lies outside",
        ),
        (
            'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
            "the batch's own statistics",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(layer, words, tmp_path):
    line = f'layer {{ name: "x" bottom: "data" top: "x" {layer} }}'
    net = small.deployed_text(LAYERS.format(line))
    built = small.weighted(net, tmp_path / "w.caffemodel")
    with pytest.raises(UserError, match=words):
        model(built_network(net, built), "encoder", None)


# --- state dicts


@pytest.mark.parametrize("network", [small.SMALL_VGG, small.SMALL_VGG_BN])
@pytest.mark.parametrize("mean", [TORCHVISION.mean, (0.5, 0.4, 0.3)])
def test_out_and_in_again_is_the_same(network, mean, tmp_path):
    """Own names, decoders included; to float32's rounding."""
    net = small.deployed_of(network, "swwae-all", tmp_path)
    file, out = tmp_path / "w.caffemodel", tmp_path / "out.safetensors"
    small.weighted(net, file)
    built = load(net, file)
    before = {n: [b.data.copy() for b in blobs] for n, blobs in built.params.items()}
    pixels = replace(TORCHVISION, mean=mean)
    lines = export_safetensors(net, built, "both", pixels, out)
    assert any("exact everywhere" in line for line in lines) == (
        mean == TORCHVISION.mean
    )
    assert "conv1_1.weight" in load_file(out)
    result, _ = from_state_dict(read_state_dict(out), net, pixels)
    again = tmp_path / "again.caffemodel"
    again.write_bytes(result.SerializeToString())
    after = load(net, again).params
    assert set(after) == set(before)
    for name, blobs in before.items():
        if name.endswith("/bn") or "/batchnorm" in name:  # sums, by their factor
            blobs = [blobs[0] / blobs[2], blobs[1] / blobs[2], np.ones(1)]
        for blob, other in zip(blobs, after[name], strict=True):
            np.testing.assert_allclose(other.data, blob, rtol=1e-5, atol=1e-6)


def test_names_and_parts(tmp_path):
    net = small.deployed_of(VGG8, "swwae-first", tmp_path)
    small.weighted(net, tmp_path / "w.caffemodel")
    pixels = Normalisation(net.pixels.mean, (1.0,))
    names = {}
    for part in ("encoder", "decoder", "both"):
        out = tmp_path / f"{part}.safetensors"
        built = load(net, tmp_path / "w.caffemodel")
        export_safetensors(net, built, part, pixels, out)
        names[part] = set(load_file(out))
    assert names["both"] == names["encoder"] | names["decoder"]
    assert all(name.startswith("dec:") for name in names["decoder"])
    assert "conv1_1.bias" in names["encoder"] and "dec:conv1_1.bias" in names["both"]


# --- the command


def command(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "tools/export_weights.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def vgg8(tmp_path_factory):
    """Weights of vgg8 swwae-first."""
    folder = tmp_path_factory.mktemp("vgg8")
    path = folder / "vgg8.caffemodel"
    small.weighted(small.deployed_of(VGG8, "swwae-first", folder), path)
    return path


def test_the_command_writes_a_model(vgg8, tmp_path):
    out = tmp_path / "vgg8.onnx"
    done = command(vgg8, "--net", "vgg8", "--variant", "swwae-first", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "both of vgg8 swwae-first" in done.stdout
    assert "image (batchx1x32x32)" in done.stdout
    made = onnx.load(out)
    assert [value.name for value in made.graph.output] == [
        "probabilities",
        "reconstruction",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--variant", "swwae-all", "--depth", "4"], "lacks layer dec:fc4"),
        (["--net", "vgg16_bn"], "another network's weights"),
        (["--part", "decoder"], "baseline has no decoder"),
        (["--bgr"], "are for .safetensors"),
        (["--out", "model.h5"], "a .safetensors or an .onnx is expected"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(vgg8, arguments, words, tmp_path):
    out = tmp_path / "out.onnx"
    done = command(vgg8, "--net", "vgg8", "--out", out, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_interrupted_export_leaves_what_was_there(vgg8, tmp_path, monkeypatch):
    net = small.deployed_of(VGG8, "swwae-first", tmp_path)
    out = tmp_path / "out.onnx"
    out.write_text("before")

    def refused(*_, **__):
        raise onnx.checker.ValidationError("no")

    monkeypatch.setattr(onnx.checker, "check_model", refused)
    with pytest.raises(onnx.checker.ValidationError):
        export_onnx(net, load(net, vgg8), "both", False, out)
    assert out.read_text() == "before"
