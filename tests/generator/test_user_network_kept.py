"""Networks of other people's making stay as they are but for what is added."""

import subprocess
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.stages import plan
from generator.user_network import read_user_network
from generator.variants import VARIANTS
from swwae.base.project import CAFFE
from tests.helpers import loading
from tests.helpers.user_network import EVERY, file_of, options, read

UPGRADE = CAFFE.with_name("upgrade_net_proto_text")

# --- kept as it is


def upgraded(path: Path, folder: Path) -> caffe_pb2.NetParameter:
    """The file in today's syntax, by Caffe's own program."""
    target = folder / "upgraded.prototxt"
    subprocess.run([UPGRADE, path, target], check=True, capture_output=True)
    return loading.read(target)


def stripped(net: caffe_pb2.NetParameter, own: caffe_pb2.NetParameter, image: str):
    """A train_val without what augmentation has added."""
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    tops = {(la.name, top) for la in own.layer for top in la.top}
    for layer in net.layer:
        if layer.name.startswith("dec:") or layer.name == f"{image}/scaled":
            continue
        kept = result.layer.add()
        kept.CopyFrom(layer)
        for top in layer.top:
            if top.endswith("-mask") and (layer.name, top) not in tops:
                kept.top.remove(top)
    return result


@pytest.mark.parametrize("name", EVERY)
def test_without_what_was_added_it_is_the_users_own(name, tmp_path):
    """Layer by layer, field by field, at its full width; name and other fields, too."""
    own = upgraded(file_of(name), tmp_path)
    network = read_user_network(file_of(name), options(name))
    for layer in own.layer:
        del layer.blobs[:]
    for variant, depth in (
        ("baseline", network.depth),
        ("swwae-all", network.depth),
        ("swwae-layerwise", network.max_depth),
    ):
        made = plan(network, VARIANTS[variant], depth)
        text = loading.texts(made)["train_val"]
        net = text_format.Parse(text, caffe_pb2.NetParameter())
        rest = stripped(net, own, network.image.blob)
        if not own.name:
            rest.ClearField("name")
        assert [la.name for la in rest.layer] == [la.name for la in own.layer]
        for kept, before in zip(rest.layer, own.layer, strict=True):
            assert kept == before
        assert rest == own


LOSSES = ("SoftmaxWithLoss", "SigmoidCrossEntropyLoss", "EuclideanLoss")


@pytest.mark.parametrize("name", EVERY)
def test_a_ladder_too_is_the_users_own_but_for_names_and_losses(name, tmp_path):
    """Parameters have names, by which the noisy encoder shares them; in training, the
    losses read the noisy encoder."""
    own = upgraded(file_of(name), tmp_path)
    network = read_user_network(file_of(name), options(name))
    text = loading.texts(plan(network, VARIANTS["ladder"]))["train_val"]
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    ours = ("noisy:", "dec:", f"{network.image.blob}/scaled")
    kept = [
        layer
        for layer in net.layer
        if not layer.name.startswith(ours) and not layer.name.endswith("/silence")
    ]
    assert [la for la in kept if la.type not in LOSSES] == [
        unlike_param(layer, kept) for layer in own.layer if layer.type not in LOSSES
    ]
    for layer in own.layer:
        if layer.type not in LOSSES:
            continue
        made = [la for la in kept if (la.name, la.type) == (layer.name, layer.type)]
        for phase in layer.include or (caffe_pb2.NetStateRule(phase=p) for p in (0, 1)):
            loss = next(la for la in made if phase.phase in phases_of(la))
            bottoms = [b.removeprefix("noisy:") for b in loss.bottom]
            bottoms = [b.removesuffix("/noise") for b in bottoms]
            assert bottoms == list(layer.bottom)
            noisy = any(b.startswith("noisy:") for b in loss.bottom)
            assert noisy == (phase.phase == caffe_pb2.TRAIN)
            assert loss.top == layer.top
            assert loss.loss_weight == layer.loss_weight


def phases_of(layer) -> set[int]:
    return {rule.phase for rule in layer.include} or {0, 1}


def unlike_param(layer, made: list):
    """The layer, with the multipliers of the layer of its name that was made, where
    these are the same but for the names."""
    twin = next(
        la for la in made if la.name == layer.name and la.include == layer.include
    )
    result = caffe_pb2.LayerParameter()
    result.CopyFrom(layer)
    if not twin.param:
        return result
    for index, spec in enumerate(twin.param):
        before = (
            layer.param[index] if index < len(layer.param) else caffe_pb2.ParamSpec()
        )
        own_name = before.name or f"{layer.name}/{index}"
        assert spec.name == own_name
        fixed = layer.type == "BatchNorm"
        assert spec.lr_mult == (0 if fixed else before.lr_mult)
        assert spec.decay_mult == before.decay_mult
    del result.param[:]
    result.param.extend(twin.param)
    return result


# --- small networks, each for one thing


def test_the_old_syntax_says_the_same(tmp_path):
    """VGG-19 in the syntax of 2013 and in today's become the same networks."""
    new = tmp_path / "vgg19.prototxt"
    new.write_text(text_format.MessageToString(upgraded(file_of("vgg19"), tmp_path)))
    assert "layers {" in file_of("vgg19").read_text()
    assert "layers {" not in new.read_text()
    texts = []
    for path in (file_of("vgg19"), new):
        made = loading.texts(plan(read(path), VARIANTS["swwae-all"]))
        texts.append([without_head(text) for text in made.values()])
    assert texts[0] == texts[1]


def without_head(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line[:1] != "#")
