"""What the generator makes of rates and weights that were found by trial."""

import json
from pathlib import Path

import pytest

from generator.__main__ import main
from generator.errors import UserError
from generator.networks import NETWORKS
from generator.rates import Figures, RatesFile, rates_file_path, read_rates
from generator.training import joint_rate, stacked_rate
from generator.variants import VARIANTS

RATES = {1: 3e-4, 2: 2.2e-4, 3: 4.6e-3}
WEIGHTS = {0: 4e-3, 1: 9.6e-4, 2: 9.2e-4}
FIND = "tools/find_lr.py --net vgg8 --family swwae"
BALANCE = "tools/balance_losses.py --net vgg8 --variant swwae-all"


def found(rates: dict = RATES, weights: dict = WEIGHTS) -> RatesFile:
    return RatesFile(
        "vgg8",
        {"swwae": Figures(rates, FIND, 2000)} if rates else {},
        {"swwae-all": Figures(weights, BALANCE, 50)} if weights else {},
    )


def generated(out: Path, what: RatesFile | None, *arguments: str) -> dict[str, str]:
    """Path -> text of everything that is generated for vgg8 in a new folder."""
    if what is not None:
        path = rates_file_path(out, "vgg8")
        path.parent.mkdir(parents=True)
        path.write_text(what.text())
    assert main(["vgg8", "--out", str(out), *arguments]) == 0
    files = out.rglob("*.prototxt")
    return {str(path.relative_to(out)): path.read_text() for path in files}


def value(text: str, field: str) -> float:
    """Of the first such field."""
    return float(text.partition(f"\n{field}: ")[2].partition("\n")[0])


def decoder_rates(pretrain: str) -> list[float]:
    """lr_mult of the weights of every layer with some, in the file's order."""
    parts = pretrain.split("param { lr_mult: ")[1::2]
    found = [float(part.split()[0]) for part in parts]
    return list(dict.fromkeys(rate for rate in found if rate))


def same_but(one: dict[str, str], other: dict[str, str]) -> set[str]:
    """The files that differ."""
    assert one.keys() == other.keys()
    return {name for name in one if one[name] != other[name]}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, str]:
    return generated(tmp_path_factory.mktemp("plain"), None)


def test_rates_become_base_lr_and_multipliers(tmp_path, plain):
    files = generated(tmp_path, found(weights={}))
    base = value(files["solvers/vgg8/swwae-layerwise/stage2.prototxt"], "base_lr")
    assert base == min(RATES.values())
    pretrain = files["models/vgg8/swwae-layerwise/pretrain.prototxt"]
    assert [base * m for m in decoder_rates(pretrain)] == pytest.approx(
        [RATES[3], RATES[2], RATES[1]]
    )
    families = {name.split("/")[2].partition("-")[0] for name in same_but(files, plain)}
    assert families == {"swwae"}


def test_weights_are_those_of_their_variant_alone(tmp_path, plain):
    files = generated(tmp_path, found(rates={}))
    changed = same_but(files, plain)
    assert {name.split("/")[2] for name in changed} == {"swwae-all"}
    assert "models/vgg8/swwae-all/deploy.prototxt" not in changed
    text = files["models/vgg8/swwae-all/train_val.prototxt"]
    weights = [float(p.split()[0]) for p in text.split("loss_weight: ")[1:]]
    assert weights == [WEIGHTS[2], WEIGHTS[1], WEIGHTS[0]]


def test_base_rates_of_the_later_stages_follow(tmp_path):
    files = generated(tmp_path, found(), "--variant", "swwae-all")
    solver = "solvers/vgg8/swwae-all/stage{}.prototxt"
    smallest = min(RATES[i] / WEIGHTS[i - 1] for i in RATES)
    stacked = value(files[solver.format(3)], "base_lr")
    assert stacked == float(f"{smallest / 3:.0e}")
    stage_0 = NETWORKS["vgg8"].training.schedules[0].base_lr
    joint = value(files[solver.format(4)], "base_lr")
    assert joint == float(f"{min(0.3 * stacked, 0.1 * stage_0):.0e}")
    assert value(files[solver.format(4)], "max_iter") == 610  # as it was


def test_only_decoded_macro_layers_bound_the_rates(tmp_path):
    slow = {**RATES, 3: 1e-9}
    files = generated(tmp_path, found(slow), "--variant", "swwae-all", "--depth", "2")
    solver = "solvers/vgg8/{}/depth2/stage{}.prototxt"
    base = value(files[solver.format("swwae-layerwise", 2)], "base_lr")
    assert base == min(RATES[1], RATES[2])
    stacked = value(files[solver.format("swwae-all", 3)], "base_lr")
    assert stacked == stacked_rate([RATES[1], RATES[2]], [WEIGHTS[0], WEIGHTS[1]])


def test_figures_that_are_not_given_stay_as_they_are():
    network = NETWORKS["vgg8"]
    applied = found({2: 1e-3}, {}).applied(network, VARIANTS["sae-all"], 3)
    assert applied is network
    applied = found({2: 1e-3}, {}).applied(network, VARIANTS["swwae-all"], 3)
    before = network.training.layerwise_lr
    assert applied.training.layerwise_lr == (before[0], 1e-3, before[2])
    assert applied.training.loss_weights == network.training.loss_weights
    assert "but of macro-layer 1, 3" in applied.training.schedules[2].why


def test_solvers_say_who_found_their_rates(tmp_path):
    files = generated(tmp_path, found(), "--variant", "swwae-all")
    texts = {n: " ".join(t.replace("\n#", "").split()) for n, t in files.items()}
    stage2 = texts["solvers/vgg8/swwae-layerwise/stage2.prototxt"]
    assert "rates found by tools/find_lr.py in 2,000 iterations" in stage2
    for stage in (3, 4):
        text = texts[f"solvers/vgg8/swwae-all/stage{stage}.prototxt"]
        assert "tools/find_lr.py and tools/balance_losses.py found" in text


def test_the_rule_for_base_rates():
    assert stacked_rate([2e-4, 5e-4], [4e-3, 1e-3]) == 0.02
    assert joint_rate(0.02, 1.0) == 0.006
    assert joint_rate(0.02, 0.01) == 0.001


def test_what_is_written_is_read(tmp_path):
    path = rates_file_path(tmp_path, "vgg8")
    path.parent.mkdir(parents=True)
    path.write_text(found().text())
    assert read_rates(tmp_path, "vgg8", 5) == found()
    assert read_rates(tmp_path, "vgg16", None) == RatesFile("vgg16")


def changed(**parts) -> str:
    return json.dumps(json.loads(found().text()) | parts)


def rates(**figures) -> str:
    whole = {"values": {"1": 1e-3}, "iterations": 5, "found_by": "tools/find_lr.py"}
    return changed(layerwise_lr={"swwae": whole | figures})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expecting value"),
        (found().text()[:80], "Expecting"),
        ("[" * 100_000, "recursion"),
        ("[]", "must have net, layerwise_lr, loss_weights"),
        (changed(net="vgg16"), "of the network 'vgg16'"),
        (changed(gamma=1), "nothing else"),
        (changed(layerwise_lr=[]), "layerwise_lr is no object"),
        (changed(layerwise_lr={"ladder": {}}), "expected swwae, sae"),
        (changed(loss_weights={"baseline": {}}), "has 'baseline'"),
        (changed(loss_weights={"sae-all": 1}), "loss_weights/sae-all must have"),
        (rates(values={}), "has no figures"),
        (rates(values={"0": 1.0}), "has '0'"),
        (rates(values={"9": 1.0}), "has '9'"),
        (rates(values={"01": 1.0}), "has '01'"),
        (rates(values={"1": -1.0}), "no number from 1e-18 to 1e+18"),
        (rates(values={"1": True}), "no number from 1e-18 to 1e+18"),
        (rates(values={"1": 10**400}), "no number from 1e-18 to 1e+18"),
        (rates(values={"1": 1e-19}), "no number from 1e-18 to 1e+18"),
        (rates(values={"1": float("nan")}), "holds NaN"),
        (rates(iterations=0), "iterations is no number"),
        (rates(found_by="a\nbase_lr: 1"), "found_by is no command"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(tmp_path, capsys, text, problem):
    path = rates_file_path(tmp_path, "vgg8")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert main(["vgg8", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert problem in said and "tools/find_lr.py --net vgg8" in said
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_a_folder_in_the_files_place_is_refused(tmp_path):
    rates_file_path(tmp_path, "vgg8").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read"):
        read_rates(tmp_path, "vgg8", 5)
