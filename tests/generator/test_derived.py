"""Networks made from built-in ones: names, lengths of stages, few labels."""

from shutil import rmtree

import pytest

from generator import derived
from generator.__main__ import main
from generator.errors import UserError
from generator.networks import VGG8, VGG16
from generator.rates import Figures, RatesFile, rates_file_path
from generator.stages import plan
from generator.variants import VARIANTS
from tests.helpers.generating import generate


def files(network, variant):
    made = plan(network, VARIANTS[variant])
    return {file.kind: file for file in made.networks}, made.solvers


def data_layers(file):
    section = next(s for s in file.sections if s.title == "data")
    return {
        (layer.name, phase): layer
        for layer in section.layers
        for phase in ("TRAIN", "TEST")
        if layer.in_phase(phase)
    }


def source(layer):
    parameters = layer.fields["data_param"]
    return parameters["source"], parameters["batch_size"]


def test_few_labels_are_half_of_a_joint_batch():
    network = derived.with_few_labels(VGG8, 100, 2)
    made, _ = files(network, "swwae-all")
    layers = data_layers(made["train_val"])
    folder = "data/fashion_mnist"
    assert source(layers["data/labelled", "TRAIN"]) == (
        f"{folder}/labelled100_seed2_lmdb",
        32,
    )
    assert source(layers["data/unlabelled", "TRAIN"]) == (
        f"{folder}/unlabelled_lmdb",
        32,
    )
    assert layers["label", "TRAIN"].bottoms == ("label/labelled", "label/unlabelled")
    assert layers["data", "TRAIN"].tops == ("data",)
    assert source(layers["data", "TEST"]) == (f"{folder}/test_lmdb", 100)
    loss = next(la for la in made["train_val"].layers if la.name == "loss")
    assert loss.fields["loss_param"] == {"ignore_label": -1}


def test_the_decoders_alone_see_all_images():
    network = derived.with_few_labels(VGG8, 100, 1)
    for variant, kind in (("sae-layerwise", "pretrain"), ("sae-all", "decoder")):
        layers = data_layers(files(network, variant)[0][kind])
        assert source(layers["data", "TRAIN"]) == (
            "data/fashion_mnist/unlabelled_lmdb",
            64,
        )


def test_a_classifier_alone_reads_the_images_with_labels():
    """As many of them in an update as the augmented networks."""
    made, solvers = files(derived.with_few_labels(VGG8, 100, 1), "baseline")
    layers = data_layers(made["train_val"])
    assert source(layers["data", "TRAIN"])[1] == 32
    assert "32 images with labels an update, 2.2 epochs of 60,000" in solvers[0].why


def test_longer_stages_keep_the_shares_of_their_rates():
    longer = derived.with_epochs(VGG8, {0: 4.4, 4: 1.3})
    before, after = VGG8.training.schedules, longer.training.schedules
    assert after[0].steps == pytest.approx([2 * step for step in before[0].steps])
    assert after[4].steps == pytest.approx((1.0,))
    assert after[2] == before[2]
    solver = plan(longer, VARIANTS["baseline"]).solvers[0]
    assert solver.max_iter == 4 * -(-4.4 * 60000 / 64 // 4)
    assert solver.step_values == (3000, 3750)
    assert solver.max_iter // solver.test_interval == 4  # a test an epoch


def test_epochs_are_read_and_written():
    assert derived.parse_epochs("0=10,4=2.5") == {0: 10, 4: 2.5}
    for text in ("0=10,4=2.5", "0=0.000001", "2=1000000"):
        assert derived.epochs_text(derived.parse_epochs(text)) == text


def test_one_name_has_one_setting(tmp_path):
    """Else a stage 4 would go on from stages of other lengths."""
    arguments = ["vgg8", "--labels", "100", "--out", str(tmp_path)]
    assert main([*arguments, "--epochs", "4=1", "--variant", "swwae-all"]) == 0
    again = [*arguments, "--epochs", "4=9", "--variant"]
    assert main([*again, "sae-all"]) == 2
    assert main([*again, "all"]) == 0


@pytest.mark.parametrize("text", ["", "1=3", "0=0", "0=-1", "0=x", "0=1,0=2", "5=1"])
def test_what_are_no_epochs(text):
    with pytest.raises(UserError, match="such as 0=10,4=2.5"):
        derived.parse_epochs(text)


def test_another_rate_is_the_solvers():
    """A decoder's multiple of stage 2's stays, so that all decoders' rates change."""
    changed = derived.with_base_lr(VGG8, {2: 2.5e-5, 4: 0.01})
    variant = VARIANTS["swwae-layerwise"]
    before, after = plan(VGG8, variant), plan(changed, variant)
    rates = {solver.path[-10]: solver.base_lr for solver in after.solvers}
    assert rates == {"2": 2.5e-5, "4": 0.01}
    assert after.networks == before.networks  # with the decoders' lr_mult
    assert after.solvers[1].step_values == before.solvers[1].step_values


def test_a_rate_that_is_asked_for_comes_before_one_that_was_found(tmp_path):
    figures = Figures({1: 1e-3, 2: 1e-3, 3: 1e-3}, "tools/find_lr.py", 2000)
    path = rates_file_path(tmp_path, "slow")
    path.parent.mkdir(parents=True)
    path.write_text(RatesFile("slow", {"swwae": figures}).text())
    arguments = ["vgg8", "--name", "slow", "--variant", "swwae-layerwise"]
    for given, rate in ([], "0.001"), (["--base-lr", "2=5e-5"], "5e-5"):
        rmtree(tmp_path / "models", ignore_errors=True)
        assert main([*arguments, *given, "--out", str(tmp_path)]) == 0
        text = (path.parent / "swwae-layerwise/stage2.prototxt").read_text()
        assert f"\nbase_lr: {rate}\n" in text


def test_rates_are_read_and_written():
    assert derived.parse_base_lr("2=2.5E-5,4=0.001") == {2: 2.5e-5, 4: 1e-3}
    assert derived.parse_base_lr("") == {}
    for text in ("2=2.5e-05,4=0.001", "0=1e+18", "3=1e-18", "0=0.0123456789"):
        assert derived.base_lr_text(derived.parse_base_lr(text)) == text


@pytest.mark.parametrize(
    "text", ["x", "1=3", "0=0", "0=-1", "0=nan", "0=1e99", "0=1e-19", "2=1,2=1"]
)
def test_what_are_no_rates(text):
    said = r"from 1e-18 to 1e\+18, such as 2=2.5e-5,4=0.001"
    with pytest.raises(UserError, match=said):
        derived.parse_base_lr(text)


@pytest.mark.parametrize("labels", [9, 60001, -5])
def test_impossible_numbers_of_labels(labels):
    with pytest.raises(UserError, match="10 classes and 60,000 training images"):
        derived.with_few_labels(VGG8, labels, 1)


def test_names():
    assert derived.few_labels_name(VGG8, 100, 1) == "vgg8_labels100"
    assert derived.few_labels_name(VGG16, 50000, 2) == "vgg16_labels50000_seed2"
    with pytest.raises(UserError, match="such as my-net"):
        derived.check_name("My Net", {})
    with pytest.raises(UserError, match="a built-in network has it"):
        derived.check_name("vgg16", {"vgg16": VGG16})


def test_the_command_line_is_told_again_in_every_file(tmp_path):
    arguments = ["vgg8", "--labels", "100", "--labels-seed", "2", "--epochs", "4=1"]
    for _ in range(2):  # and can be given again
        assert main([*arguments, "--variant", "baseline", "--out", str(tmp_path)]) == 0
    path = tmp_path / "models/vgg8_labels100_seed2/baseline/train_val.prototxt"
    head, title = path.read_text().split("\n")[:2]
    assert " ".join(arguments) + " --variant baseline" in head
    assert title.endswith("default depth 3 of 5")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vgg8", "--name", "vgg16"], "a built-in network has it"),
        (["vgg8", "--labels-seed", "2"], "--labels-seed is for --labels"),
        (["vgg8", "--labels", "100", "--labels-seed", "-1"], "0 or more"),
        (["vgg8", "--epochs", "0"], "expected stages that train"),
        (["vgg8", "--base-lr", "0.1"], "expected stages that train"),
        (["vgg8", "--base-lr", "0.1", "--describe"], "expected stages that train"),
        (["vgg8", "--labels", "100", "--name", "a/b"], "lower-case letters"),
    ],
)
def test_what_is_refused(arguments, said, tmp_path):
    done = generate(*arguments, "--out", tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
