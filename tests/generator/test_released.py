"""Every network that the paper's authors released has its twin among ours.

Their weights then load by name without surgery. The facts, with their source, are in
tests/released/networks.json.
"""

import json
from functools import cache
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2

from generator.files import render
from generator.networks import NETWORKS
from generator.stages import NetworkFile, Plan, plan
from generator.variants import VARIANTS

FACTS = json.loads((Path(__file__).parents[1] / "released/networks.json").read_text())
RELEASED = FACTS["networks"]

WITHOUT_CLASSIFIER = ("dump", "pretrain")
"""Ours of these kinds end at the decoding depth; the released ones classify, too."""


def cases(*kinds: str) -> list:
    """The released networks of some kinds, or all."""
    return [
        pytest.param(released, id=released["file"])
        for released in RELEASED
        if not kinds or released["kind"] in kinds
    ]


@cache
def planned(net: str, variant: str, depth: int | None) -> Plan:
    return plan(NETWORKS[net], VARIANTS[variant], depth)


def ours(released: dict, kind: str) -> NetworkFile:
    """Our network of the same base network, variant and depth."""
    made = planned(released["net"], released["variant"], released["depth"])
    return next(file for file in made.networks if file.kind == kind)


def shapes(file: NetworkFile) -> dict[str, list[list[int]]]:
    """Of every layer with parameters: the shapes of its blobs."""
    layers = [layer for layer in file.layers if layer.blobs]
    return {layer.name: [list(blob) for blob in layer.blobs] for layer in layers}


def released_shapes(released: dict, layers: str) -> dict[str, list[list[int]]]:
    names = FACTS["layers"][released["net"]][layers]["parameters"]
    return {name: FACTS["blobs"][released["net"]][name] for name in names}


def losses(file: NetworkFile) -> dict[str, list]:
    """Of every reconstruction loss: reconstruction, target and weight."""
    return {
        layer.name: [*layer.bottoms, layer.fields.get("loss_weight", 1)]
        for layer in file.layers
        if layer.type == "EuclideanLoss"
    }


def test_the_facts_are_of_58_networks_and_of_nothing_else():
    assert len({released["file"] for released in RELEASED}) == len(RELEASED) == 58
    for net, lists in FACTS["layers"].items():
        if net != "about":
            used = {name for entry in lists.values() for name in entry["parameters"]}
            assert used == set(FACTS["blobs"][net])


@pytest.mark.parametrize("released", cases())
def test_the_twin_has_the_same_layers_with_parameters(released):
    """Of the same kind, with the same names and shapes, in any order."""
    layers = released["layers"]
    if released["kind"] in WITHOUT_CLASSIFIER:
        layers = f"depth {released['depth']}"
    twin = ours(released, released["kind"])
    assert shapes(twin) == released_shapes(released, layers)


@pytest.mark.parametrize("released", cases(*WITHOUT_CLASSIFIER))
def test_one_of_ours_has_every_released_layer(released):
    """Where the twin has no classifier, another of ours takes all the weights."""
    classifies = "label" in released["inputs"]
    whole = ours(released, "deploy" if classifies else "reconstruct")
    assert shapes(whole) == released_shapes(released, released["layers"])


@pytest.mark.parametrize("released", cases())
def test_the_twin_unpools_alike(released):
    """The same layers, windows and places; normalised where windows overlap."""
    net, family = released["net"], released["variant"].partition("-")[0]
    method = FACTS["unpooling"][net] | FACTS["unpooling"].get(family, {})
    names = FACTS["layers"][net][released["layers"]]["unpooling"]
    overlap = method["kernel_size"] > method["stride"]
    layers = ours(released, released["kind"]).layers
    unpooling = {layer.name: layer for layer in layers if layer.type == "Depooling"}
    assert set(unpooling) == set(names)
    for name, layer in unpooling.items():
        fields = dict(layer.fields["pooling_param"])
        assert fields.pop("fix", -1) == -1  # the default, the centre
        assert fields == method
        tops = (f"{name}/unnorm", f"{name}/mask") if overlap else (name,)
        assert layer.tops == tops


@pytest.mark.parametrize("released", cases())
def test_the_twin_has_the_same_blobs_for_the_image_and_its_reconstruction(released):
    """The label aside, which none of ours of these kinds asks for."""
    twin = ours(released, released["kind"])
    inputs = {top for la in twin.layers if not la.bottoms for top in la.tops}
    undeclared = {"mean"} if ".extra/" in released["file"] else set()
    found = {*released["inputs"], "label"}
    assert found | undeclared >= inputs | {"label"} >= found
    made = {top: layer.shape for layer in twin.layers for top in layer.tops}
    if released["variant"] == "baseline":
        assert "dec:data" not in made
    else:
        assert made["dec:data"] == made["data"] == NETWORKS[released["net"]].image.shape


@pytest.mark.parametrize("released", cases("deploy", "pretrain"))
def test_what_we_train_has_the_released_losses(released):
    """The deploy networks carry the weights of joint training (Table A-1)."""
    kind = "pretrain" if released["kind"] == "pretrain" else "train_val"
    theirs = FACTS["losses"][released["losses"]]
    assert losses(ours(released, kind)) == theirs


@pytest.mark.parametrize("released", cases("dump"))
def test_the_twin_dumps_the_same_pair(released):
    """Image and reconstruction, plus the mean, side by side."""
    facts = {k: v for k, v in FACTS["dump"].items() if isinstance(v, list)}
    twin = ours(released, "dump")
    layers = {layer.name: layer for layer in twin.layers}
    made = {name: layers[name] for name in facts}
    assert {k: [la.type, list(la.bottoms)] for k, la in made.items()} == facts
    written = [layer for layer in twin.layers if layer.type == "ImageOutput"]
    assert [layer.fields for layer in written] == [
        {"image_output_param": {"output_prefix": FACTS["dump"]["output_prefix"]}}
    ]
    image = "dec:loss@data/scaled"
    theirs = FACTS["losses"][released["losses"]][image][:2]
    assert list(layers[image].bottoms) == theirs
    assert layers["dec:pair@data/scaled/add-mean"].fields == {
        "concat_param": {"axis": 3}
    }


@pytest.mark.parametrize(("net", "depth"), [("alexnet", 4), ("vgg16", 2)])
def test_caffe_loads_weights_of_the_released_names_and_shapes(net, depth, tmp_path):
    """Every blob arrives, nothing is renamed, reshaped or dropped."""
    file = f"/recon/SWWAE-first/layer{depth}_deploy"
    released = next(r for r in RELEASED if r["file"].endswith(file) and r["net"] == net)
    theirs = released_shapes(released, released["layers"])
    twin = ours(released, "reconstruct")
    assert shapes(twin) == theirs  # Caffe ends the process otherwise
    random = np.random.default_rng(0)
    weights = caffe_pb2.NetParameter()
    for name, blobs in theirs.items():
        layer = weights.layer.add(name=name)
        for shape in blobs:
            values = random.standard_normal(shape).astype(np.float32)
            layer.blobs.add(data=values.ravel()).shape.dim.extend(shape)
    saved = tmp_path / "weights.caffemodel"
    saved.write_bytes(weights.SerializeToString())
    text = tmp_path / "reconstruct.prototxt"
    made = planned(net, released["variant"], depth)
    text.write_text(render([made])[twin.path])
    built = caffe.Net(str(text), str(saved), caffe.TEST)
    assert set(built.params) == set(theirs)
    for layer in weights.layer:
        for given, loaded in zip(layer.blobs, built.params[layer.name], strict=True):
            assert np.array_equal(loaded.data.ravel(), np.array(given.data, "f4"))


@pytest.mark.parametrize("released", RELEASED, ids=lambda each: each["file"])
def test_the_folders_name_the_variant(released):
    """But for one folder, whose networks unpool with switches whatever it says."""
    folder = released["file"].split("/")[-2]
    if folder in ("references", "baseline"):
        assert released["variant"] == "baseline"
    else:
        named = folder.lower().partition(".")[0]
        switched = folder == "SAE-first.extra"
        assert released["variant"] == ("swwae-first" if switched else named)
