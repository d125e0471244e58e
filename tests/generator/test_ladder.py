"""The ladder network (A2.4): tied encoders, noise, combinators, what reads what."""

import caffe
import numpy as np
import pytest

from generator.combinator import HIDDEN, LEAK
from generator.errors import UserError
from generator.networks import ALEXNET, VGG8
from generator.stages import plan
from generator.user_network import Options, read_user_network
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from tests.helpers import loading

LADDER = VARIANTS["ladder"]
VGG_BN = ROOT / "tests/networks/vgg_bn.prototxt"


def layers_of(kind, network=VGG8, variant=LADDER, depth=None):
    files = plan(network, variant, depth).networks
    file = next(file for file in files if file.kind == kind)
    return {layer.name: layer for layer in file.layers}


def build(kind, phase):
    made = plan(VGG8, LADDER)
    net = loading.without_data(loading.texts(made)[kind], VGG8.image.shape, "data")
    built = loading.build(net, phase)
    random = np.random.default_rng(8)
    for blobs in built.params.values():
        scale = (2 / max(1, np.prod(blobs[0].shape[1:]))) ** 0.5
        blobs[0].data[...] = random.normal(0, scale, blobs[0].shape)
        blobs[1].data[...] = random.normal(0, 0.05, blobs[1].shape)
    built.blobs["data"].data[...] = random.uniform(-56, 199, (2, 1, 32, 32))
    if "label" in built.blobs:
        built.blobs["label"].data[...] = [3, 7]
    return built


def test_both_encoders_have_one_set_of_weights():
    built = build("train_val", caffe.TRAIN)
    for name in ("conv1_1", "conv3_2", "fc4", "fc5"):
        for clean, noisy in zip(
            built.params[name], built.params[f"noisy:{name}"], strict=True
        ):
            clean.data[...] = 0.125
            assert (noisy.data == 0.125).all()


def test_noise_is_there_in_training_and_not_in_tests():
    training, test = build("train_val", caffe.TRAIN), build("train_val", caffe.TEST)
    training.forward()
    test.forward()
    for name in ("conv1_2/pool", "conv3_2/pool", "fc4"):
        noisy = f"noisy:{name}/noise"
        if name == "fc4":  # no decoder reads it: it is there in training alone
            assert noisy not in test.blobs
        else:
            np.testing.assert_array_equal(test.blobs[noisy].data, test.blobs[name].data)
        difference = training.blobs[noisy].data - training.blobs[name].data
        assert np.abs(difference).mean() > 0.01
    noise = training.blobs["noisy:data"].data - training.blobs["data"].data
    assert noise.std() == pytest.approx(0.3 * 0.3 * 255, rel=0.05)
    assert abs(noise.mean()) < 3
    layer = layers_of("train_val")["noisy:conv1_2/pool/noise"]
    assert layer.fields["gaussian_noise_param"]["std"] == pytest.approx(
        0.3 * VGG8.magnitude
    )


def test_every_layer_but_the_scores_is_disturbed():
    layers = layers_of("train_val").values()
    noise = [layer.bottoms[0] for layer in layers if layer.type == "GaussianNoise"]
    assert noise == [
        "data",
        *(f"noisy:conv{i}_2/pool" for i in (1, 2, 3)),
        "noisy:fc4",
    ]


def test_the_loss_reads_the_noisy_encoder_in_training_the_clean_one_in_tests():
    file = next(f for f in plan(VGG8, LADDER).networks if f.kind == "train_val")
    losses = [layer for layer in file.layers if layer.name == "loss"]
    read = {
        phase: layer.bottoms[0]
        for layer in losses
        for phase in ("TRAIN", "TEST")
        if layer.in_phase(phase)
    }
    assert read == {"TRAIN": "noisy:fc5", "TEST": "fc5"}
    accuracy = next(layer for layer in file.layers if layer.name == "accuracy")
    assert accuracy.bottoms[0] == "fc5"


def mlp(u, z, weights):
    """The combinator in numpy, channel by channel: (C, ...) each."""
    (w1, b1), (w2, b2) = weights
    result = np.zeros(u.shape)
    for c in range(len(u)):
        out = b2[c]
        for h in range(HIDDEN):
            row = w1[c * HIDDEN + h, :, 0, 0]
            hidden = (
                row[0] * u[c]
                + row[1] * z[c]
                + row[2] * u[c] * z[c] * 3.33
                + b1[c * HIDDEN + h]
            )
            hidden = np.where(hidden > 0, hidden, LEAK * hidden)
            out = out + w2[c, h, 0, 0] * hidden
        result[c] = out
    return result


def test_a_combinator_is_the_augmented_mlp_of_each_channel():
    built = build("train_val", caffe.TRAIN)
    built.forward()
    for level, name, lateral in (
        (3, "conv3_2", "noisy:conv3_2/pool/noise"),
        (2, "conv2_2", "noisy:conv2_2/pool/noise"),
        (0, "data", "noisy:data/scaled"),
    ):
        down = lateral if level == 3 else f"dec:{name}/down"
        weights = [
            [blob.data.astype(float) for blob in built.params[f"dec:{name}/{part}"]]
            for part in ("hidden", "output")
        ]
        for image in range(2):
            u, z = (built.blobs[b].data[image].astype(float) for b in (down, lateral))
            expected = mlp(u, z, weights)
            found = built.blobs[f"dec:{name}"].data[image]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_targets_are_clean_and_every_level_has_one():
    layers = layers_of("train_val")
    targets = {
        name: layer.bottoms
        for name, layer in layers.items()
        if layer.type == "EuclideanLoss"
    }
    assert targets == {
        "dec:loss@conv3_2": ("dec:conv3_2", "conv3_2/pool"),
        "dec:loss@conv2_2": ("dec:conv2_2", "conv2_2/pool"),
        "dec:loss@conv1_2": ("dec:conv1_2", "conv1_2/pool"),
        "dec:loss@data/scaled": ("dec:data", "data/scaled"),
    }


def test_stage_2_feeds_every_level_from_the_encoder_and_stage_3_from_the_stack():
    pretrain, stacked = layers_of("pretrain"), layers_of("decoder")
    noisy = "noisy:conv2_2/pool/noise"
    assert pretrain["dec:conv2_2/unpool"].bottoms[0] == noisy
    assert stacked["dec:conv2_2/unpool"].bottoms[0] == "dec:conv2_2"
    for layers in (pretrain, stacked):
        assert layers["dec:conv2_2/unpool"].bottoms[1] == "noisy:conv2_2/pool-mask"
        rates = {
            rate["lr_mult"]
            for name, layer in layers.items()
            if not name.startswith("dec:")
            for rate in layer.fields.get("param", [])
        }
        assert rates == {0}
    assert {n for n, la in pretrain.items() if la.blobs} == {
        n for n, la in stacked.items() if la.blobs
    }


def test_inference_has_one_encoder_and_no_noise():
    for kind in ("deploy", "reconstruct", "dump"):
        layers = layers_of(kind)
        assert not [name for name in layers if name.startswith("noisy:")]
        assert "dec:data" in {top for layer in layers.values() for top in layer.tops}


def test_alexnet_from_fc7_has_a_combinator_at_every_level():
    layers = layers_of("decoder", ALEXNET, depth=7)
    outputs = [name for name in layers if name.endswith("/output")]
    names = ["fc7", "fc6", *(f"conv{i}" for i in (5, 4, 3, 2, 1)), "data"]
    assert outputs == [f"dec:{name}/output" for name in names]


def test_batch_norm_moves_the_noise_behind_the_normalisation():
    network = read_user_network(VGG_BN, Options("bn", (3, 32, 32)))
    from dataclasses import replace

    plain = layers_of("train_val", network)
    normal = layers_of("train_val", network, replace(LADDER, batch_norm=True))
    assert "noisy:pool1/noise" in plain
    assert "noisy:pool1/noise" not in normal
    noise = normal["noisy:conv1_2/bn/noise"]
    assert noise.fields["gaussian_noise_param"]["std"] == 0.3
    names = list(normal)
    assert names.index("noisy:conv1_2/bn") + 1 == names.index(noise.name)
    assert names.index("noisy:conv1_2/scale") == names.index(noise.name) + 1
    assert "dec:conv1_2/down/batchnorm" in normal
    assert "dec:conv1_2/down/batchnorm" not in plain
    assert "dec:data/down/batchnorm" not in normal
    assert normal["dec:conv1_2/product"].bottoms == ("dec:conv1_2/down", "noisy:pool1")
    for kind in ("train_val", "pretrain", "decoder"):
        made = plan(network, replace(LADDER, batch_norm=True))
        file = next(file for file in made.networks if file.kind == kind)
        net = loading.without_data(loading.texts(made)[kind], (3, 32, 32), "data")
        for phase in ("TRAIN", "TEST"):
            built = loading.build(net, loading.PHASES[phase])
            loading.check_shapes(built, file, phase)


def test_batch_norm_is_for_networks_that_have_it(capsys):
    from generator.__main__ import main

    assert main(["vgg8", "--variant", "ladder", "--batch-norm"]) == 2
    assert "no BatchNorm layer" in capsys.readouterr().err
    assert main(["vgg8", "--variant", "sae-all", "--batch-norm"]) == 2
    assert "--variant ladder" in capsys.readouterr().err
    with pytest.raises(UserError):
        read_user_network(ROOT / "no.prototxt", Options())
