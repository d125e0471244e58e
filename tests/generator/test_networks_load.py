"""Every generated network is loaded by the fork, and has the shapes we say it has."""

import re

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.files import render
from generator.networks import ALEXNET, NETWORKS, VGG8, VGG16
from generator.stages import plan
from generator.variants import VARIANTS
from swwae.nets import building

THIN = 32
"""Hidden inner products get so few units where a full load would be slow."""

PHASES = {caffe.TRAIN: "TRAIN", caffe.TEST: "TEST"}

TORCHVISIONS = ("vgg16_bn", "alexnet_owt")
"""Forms of two others, which are loaded at every depth."""

DEPTHS = [
    pytest.param(net, variant, depth, id=f"{net.name}-{variant.name}-{depth}")
    for net in NETWORKS.values()
    for variant in VARIANTS.values()
    for depth in range(1, net.max_depth + 1)
    if variant.has_decoder or depth == net.depth
    if net.name not in TORCHVISIONS or depth in (1, net.depth, net.max_depth)
]


def load(net, text, folder, phase, thin=False):
    """The network with Input in place of its data, a batch of one and no fillers."""
    parameters = text_format.Parse(text, caffe_pb2.NetParameter())
    for layer in list(parameters.layer):
        if layer.type == "Data":
            parameters.layer.remove(layer)
        building.drop_fillers(layer)
    for name, shape in (("data", (1, *net.image.shape)), ("label", (1,))):
        layer = caffe_pb2.LayerParameter(name=name, type="Input", top=[name])
        layer.input_param.shape.add(dim=shape)
        read = any(name in known.bottom for known in parameters.layer)
        if read and not any(name in known.top for known in parameters.layer):
            parameters.layer.insert(0, layer)
    text = text_format.MessageToString(parameters)
    if thin:
        text = re.sub(r"(: |\b)4096\b", rf"\g<1>{THIN}", text)
        text = re.sub(r": 16384\b", f": {4 * THIN}", text)
        text = re.sub(r": 12288\b", f": {3 * THIN}", text)
    path = folder / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), phase)


def thinned(shape, thin):
    """The shape that a thinned network has instead."""
    units = {4096: THIN, 16384: 4 * THIN, 12288: 3 * THIN}
    return tuple(units.get(n, n) for n in shape) if thin else tuple(shape)


def check(built, file, phase, thin=False):
    """Every parameter and every top has the shape that we say it has."""
    layers = [la for la in file.layers if la.in_phase(PHASES[phase])]
    known = {each.name for each in layers if each.blobs}
    assert known == set(built.params)
    for layer in layers:
        if layer.blobs:
            shapes = [tuple(blob.shape) for blob in built.params[layer.name]]
            assert shapes == [thinned(s, thin) for s in layer.blobs], layer.name
        tops = [top for top in layer.tops if top in built.blobs]
        if layer.shape and tops:
            shape = tuple(built.blobs[tops[0]].shape)[1:]
            assert shape == thinned(layer.shape, thin), layer.name


@pytest.mark.parametrize(("net", "variant", "depth"), DEPTHS)
def test_the_fork_loads_every_network(net, variant, depth, tmp_path):
    """Of every variant and depth, in the phase that it is for, with these shapes."""
    thin = net is not VGG8
    made = plan(net, variant, depth)
    texts = render([made])
    for file in made.networks:
        trained = file.kind in ("train_val", "decoder", "pretrain")
        for phase in (caffe.TRAIN, caffe.TEST) if trained else (caffe.TEST,):
            built = load(net, texts[file.path], tmp_path, phase, thin)
            check(built, file, phase, thin)
            read = {b for layer in file.layers for b in layer.bottoms}
            masks = {blob for blob in built.blobs if blob.endswith("-mask")}
            assert masks <= read
            if "dec:data" in built.blobs:
                assert tuple(built.blobs["dec:data"].shape)[1:] == net.image.shape
            if trained:
                losses = {n for n in built.outputs if "loss" in n or "accuracy" in n}
                assert losses == set(built.outputs), "a blob that nobody reads"
        if file.kind == "deploy":
            images = {n for n in built.outputs if n == "dec:data"}
            assert bool(images) == variant.has_decoder
            assert "prob" in built.outputs
            if variant.stacked or not variant.has_decoder:
                assert set(built.outputs) == {"prob"} | images


@pytest.mark.parametrize("net", [VGG16, ALEXNET], ids=lambda net: net.name)
def test_the_fork_loads_it_at_full_width(net, tmp_path):
    """The networks of the line on the box, nothing thinned."""
    made = plan(net, VARIANTS["swwae-all"])
    texts = render([made])
    for file in made.networks:
        built = load(net, texts[file.path], tmp_path, caffe.TEST)
        check(built, file, caffe.TEST)


def relu(values):
    return np.maximum(values, 0)


def convolve(x, weights, bias):
    """3x3, stride 1, pad 1: (C, H, W) with (O, C, 3, 3), by shifting the image."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    result = np.zeros((len(weights), height, width)) + bias[:, None, None]
    for i in range(3):
        for j in range(3):
            window = padded[:, i : i + height, j : j + width]
            result += np.einsum("oc,chw->ohw", weights[:, :, i, j], window)
    return result


def deconvolve(x, weights, bias):
    """Its transpose: (I, H, W) with (I, O, 3, 3), scattering each value."""
    height, width = x.shape[1:]
    padded = np.zeros((weights.shape[1], height + 2, width + 2))
    for i in range(3):
        for j in range(3):
            padded[:, i : i + height, j : j + width] += np.einsum(
                "io,ihw->ohw", weights[:, :, i, j], x
            )
    return padded[:, 1:-1, 1:-1] + bias[:, None, None]


def pool(x):
    """2x2 max: values, and the mask of where they were (the first on a tie)."""
    channels, height, width = x.shape
    windows = x.reshape(channels, height // 2, 2, width // 2, 2).transpose(
        0, 1, 3, 2, 4
    )
    flat = windows.reshape(channels, height // 2, width // 2, 4)
    where = np.eye(4)[flat.argmax(-1)]
    return flat.max(-1), where


def unpool(x, where):
    spread = (x[..., None] * where).reshape(*x.shape, 2, 2)
    channels, height, width = x.shape
    return spread.transpose(0, 1, 3, 2, 4).reshape(channels, 2 * height, 2 * width)


@pytest.mark.parametrize(
    "variant", [n for n in VARIANTS if n.startswith(("sae", "sw"))]
)
def test_forward_and_losses_equal_numpy(variant, tmp_path):
    """The paper's equations in float64: activations, reconstructions, the loss."""
    texts = render([plan(VGG8, VARIANTS[variant])])
    text = texts[f"models/vgg8/{variant}/train_val.prototxt"]
    built = load(VGG8, text, tmp_path, caffe.TEST)
    random = np.random.default_rng(3)
    weights = {}
    for name, blobs in built.params.items():
        scale = (2 / np.prod(blobs[0].shape[1:])) ** 0.5
        for blob, std in zip(blobs, (scale, 0.05), strict=True):
            blob.data[...] = random.normal(0, std, blob.shape)
        weights[name] = [blob.data.astype(np.float64) for blob in blobs]
    image = random.uniform(0, 255, (1, 32, 32)) - 55.845
    built.blobs["data"].data[0] = image
    built.blobs["label"].data[...] = 3
    built.forward()

    activations, masks = [image / 255], []
    for index in (1, 2, 3):
        x = activations[-1]
        for part in (1, 2):
            x = relu(convolve(x, *weights[f"conv{index}_{part}"]))
        x, where = pool(x)
        activations.append(x)
        masks.append(where)
    known = VARIANTS[variant].switches
    centre = np.eye(4)[3]  # row 1, column 1 of the window
    reconstructed = activations[3]
    losses = []
    for index in (3, 2, 1):
        if not VARIANTS[variant].stacked:
            reconstructed = activations[index]
        where = (
            masks[index - 1]
            if known
            else np.broadcast_to(centre, masks[index - 1].shape)
        )
        x = unpool(reconstructed, where)
        x = relu(deconvolve(x, *weights[f"dec:conv{index}_2"]))
        x = deconvolve(x, *weights[f"dec:conv{index}_1"])
        reconstructed = relu(x) if index > 1 else x
        losses.insert(0, ((reconstructed - activations[index - 1]) ** 2).sum() / 2)

    np.testing.assert_allclose(
        built.blobs["conv3_2/pool"].data[0], activations[3], rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        built.blobs["dec:data"].data[0], reconstructed, rtol=1e-3, atol=1e-3
    )
    names = ["data/scaled", "conv1_2", "conv2_2"]
    if not VARIANTS[variant].all_losses:
        assert [n for n in built.blobs if n.startswith("dec:loss")] == [
            f"dec:loss@{names[0]}"
        ]
        names = names[:1]
    for name, loss in zip(names, losses, strict=False):
        assert float(built.blobs[f"dec:loss@{name}"].data) == pytest.approx(
            loss, rel=1e-4
        )


@pytest.mark.parametrize("variant", ["swwae-all", "sae-first", "swwae-layerwise"])
def test_gradients_of_the_whole_objective_equal_differences(variant, tmp_path):
    """d(C + sum gamma L)/dw by central differences, in one weight a layer."""
    texts = render([plan(VGG8, VARIANTS[variant])])
    text = texts[f"models/vgg8/{variant}/train_val.prototxt"]
    built = load(VGG8, text, tmp_path, caffe.TRAIN)
    random = np.random.default_rng(5)
    for blobs in built.params.values():
        scale = (2 / np.prod(blobs[0].shape[1:])) ** 0.5
        blobs[0].data[...] = random.normal(0, scale, blobs[0].shape)
    built.blobs["data"].data[0] = random.uniform(-55, 200, (1, 32, 32))
    built.blobs["label"].data[...] = 7
    gamma = dict(
        zip(
            ["data/scaled", "conv1_2", "conv2_2"],
            VGG8.training.loss_weights,
            strict=True,
        )
    )
    losses = {
        n: gamma[n.partition("@")[2]] for n in built.blobs if n.startswith("dec:loss@")
    }

    def objective():
        built.forward()
        total = float(built.blobs["loss"].data)
        return total + sum(w * float(built.blobs[n].data) for n, w in losses.items())

    def pattern():
        blobs = built.blobs.items()
        return [blob.data.tobytes() for n, blob in blobs if n.endswith("-mask")]

    objective()
    built.backward()
    checked = 0
    for name in (
        "conv1_1",
        "conv2_2",
        "conv3_2",
        "dec:conv3_2",
        "dec:conv2_1",
        "dec:conv1_1",
    ):
        blob = built.params[name][0]
        gradient = blob.diff.copy()
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        value = float(blob.data[place])
        # Where a switch flips, the objective jumps: stay inside.
        for step in (1e-3, 3e-4, 1e-4, 3e-5):
            sides = []
            for side in (step, -step):
                blob.data[place] = value + side
                sides.append((objective(), pattern()))
            if sides[0][1] == sides[1][1]:
                break
        blob.data[place] = value
        slope = (sides[0][0] - sides[1][0]) / (2 * step)
        assert gradient[place] == pytest.approx(slope, rel=0.05), name
        checked += 1
    assert checked == 6
