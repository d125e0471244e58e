"""The generated files that are committed, and those made on request."""

import hashlib
from pathlib import Path

import pytest

from generator.__main__ import main
from generator.files import render
from generator.manifest import of_plans
from generator.names import ON_REQUEST
from generator.networks import NETWORKS, VGG8
from generator.recipe import MADE_ON_REQUEST
from generator.stages import plan
from generator.variants import VARIANTS
from swwae.base.project import ROOT


def plans_of(network, variants=VARIANTS):
    """Plans at the default depth, as the generator writes them."""
    return [plan(network, VARIANTS[name]).without(ON_REQUEST) for name in variants]


def committed(network):
    """Path -> text, of all that is kept of a built-in network."""
    kept = [name for name in VARIANTS if name not in MADE_ON_REQUEST]
    manifest = of_plans(plans_of(network))
    return render(plans_of(network, kept)) | {
        f"models/{network.name}/network.json": manifest.text()
    }


def on_request(network):
    """Path -> text, of all else at the default depth."""
    texts = render([plan(network, variant) for variant in VARIANTS.values()])
    return {k: v for k, v in texts.items() if k not in committed(network)}


def test_generated_files_are_the_committed_ones():
    for network in NETWORKS.values():
        texts = committed(network)
        for name, text in texts.items():
            assert (ROOT / name).read_text() == text, f"{name}: python -m generator"
        requested = on_request(network)
        for top in ("models", "solvers"):
            found = {
                str(p.relative_to(ROOT))
                for pattern in ("*.prototxt", "network.json")
                for p in (ROOT / top / network.name).rglob(pattern)
                if not p.parent.name.startswith("depth")
            }
            assert found - requested.keys() == {n for n in texts if n.startswith(top)}
            for name in found & requested.keys():  # somebody has made it here
                assert (ROOT / name).read_text() == requested[name]


def test_what_is_made_on_request_is_what_was_committed_before():
    """By checksums of the files that were: `sha256sum` writes such a list."""
    lines = (Path(__file__).parent / "on_request.sha256").read_text().splitlines()
    known = {name: checksum for checksum, name in (line.split("  ") for line in lines)}
    texts = {k: v for net in NETWORKS.values() for k, v in on_request(net).items()}
    assert set(texts) == set(known)
    for name, text in texts.items():
        assert hashlib.sha256(text.encode()).hexdigest() == known[name], name


def test_few_enough_lines_are_committed():
    texts = [text for net in NETWORKS.values() for text in committed(net).values()]
    assert sum(len(text.splitlines()) for text in texts) <= 60000


def test_the_classifier_of_any_size_is_there_once():
    for variant in VARIANTS.values():
        kinds = [file.kind for file in plan(VGG8, variant).networks]
        assert ("deploy_conv" in kinds) == (variant.name == "baseline")


@pytest.mark.parametrize("kinds", ["dump", "reconstruct", "dump,reconstruct"])
def test_other_networks_are_made_where_they_are_asked_for(kinds, tmp_path):
    arguments = ["vgg8", "--variant", "sae-first", "--out", str(tmp_path)]
    assert main([*arguments, "--with", kinds]) == 0
    folder = tmp_path / "models/vgg8/sae-first"
    texts = render([plan(VGG8, VARIANTS["sae-first"])])
    made = {path.stem for path in folder.iterdir()}
    assert made == {"train_val", "decoder", "deploy", *kinds.split(",")}
    for kind in kinds.split(","):
        text = (folder / f"{kind}.prototxt").read_text()
        assert text == texts[f"models/vgg8/sae-first/{kind}.prototxt"]
