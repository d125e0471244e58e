"""Section 4.1's stages as data, and that no networks are built to know the variants."""

import subprocess
import sys

import pytest

from generator.errors import UserError
from generator.names import DECODER_ALONE, PRETRAIN, TRAIN_VAL
from generator.networks import NETWORKS, VGG8
from generator.recipe import STAGES, find_stage, previous, stages_owned_by
from generator.stages import plan
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from tests.helpers.user_network import EVERY

CHAINS = {
    "baseline": [0, 1, 4],
    "sae-layerwise": [0, 1, 2, 4],
    "swwae-first": [0, 1, 2, 3, 4],
    "swwae-all": [0, 1, 2, 3, 4],
    "ladder": [0, 1, 2, 3, 4],
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_variant_goes_through_its_stages(name):
    variant = VARIANTS[name]
    chain = [4]
    while before := previous(chain[0], variant):
        chain.insert(0, before.number)
    assert chain == CHAINS[name]
    for number, stage in STAGES.items():
        if number in chain:
            stage.check(variant)
        else:
            with pytest.raises(UserError, match=f"stage {number} trains"):
                stage.check(variant)


def test_early_stages_are_shared():
    first, layerwise = VARIANTS["swwae-first"], VARIANTS["swwae-layerwise"]
    assert STAGES[0].shared(first) == VARIANTS["baseline"]
    assert STAGES[1].shared(first) == STAGES[2].shared(first) == layerwise
    assert STAGES[3].shared(first) == STAGES[4].shared(first) == first
    assert [stage.number for stage in stages_owned_by(first)] == [3, 4]
    assert [stage.number for stage in stages_owned_by(VARIANTS["ladder"])] == [2, 3, 4]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_networks_of_a_variants_own_stages_are_generated(name):
    made = plan(VGG8, VARIANTS[name])
    kinds = {file.kind for file in made.networks}
    assert {stage.network for stage in stages_owned_by(VARIANTS[name])} <= kinds
    assert len(made.solvers) == len(stages_owned_by(VARIANTS[name]))
    for stage, solver in zip(
        stages_owned_by(VARIANTS[name]), made.solvers, strict=True
    ):
        assert solver.net.endswith(f"/{stage.network}.prototxt")
        assert solver.path.endswith(f"/stage{stage.number}.prototxt")
    assert TRAIN_VAL in kinds
    assert (PRETRAIN in kinds) == name.endswith(("layerwise", "ladder"))


def test_there_are_five_stages():
    with pytest.raises(UserError, match="no stage 5; stages are 0 to 4"):
        find_stage(5)


@pytest.mark.parametrize("module", ["generator", "generator.variants"])
def test_variants_are_known_without_a_network_being_built(module):
    program = (
        f"import sys, {module}; generator.variant_names()\n"
        "sys.exit('generator.networks' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def weights_of(network, variant: str, kind: str, depth: int) -> dict:
    """Layer -> the shapes of its parameters, of one of the files."""
    made = plan(network, VARIANTS[variant], depth)
    layers = next(file for file in made.networks if file.kind == kind).layers
    return {layer.name: layer.blobs for layer in layers if layer.blobs}


@pytest.mark.parametrize("group", ["pooling", "layer"])
@pytest.mark.parametrize("name", [*NETWORKS, *EVERY])
def test_stage_3_finds_all_of_its_weights_in_stage_2s(name, group, thin):
    """A decoder's batch normalisation and PReLU, too, under one name."""
    network = NETWORKS[name] if name in NETWORKS else thin(name, group)
    for depth in {network.depth, network.max_depth}:
        for family in ("sae", "swwae"):
            left = weights_of(network, f"{family}-layerwise", PRETRAIN, depth)
            for variant in (f"{family}-first", f"{family}-all"):
                taken = weights_of(network, variant, DECODER_ALONE, depth)
                assert taken.items() <= left.items()
