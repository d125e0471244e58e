"""`import swwae`, as a notebook uses it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import swwae
from generator.errors import UserError
from swwae.base.project import ROOT
from tests.helpers import made_runs

LOG = """\
I1124 06:20:42.123456 12345 solver.cpp:239] Iteration 0 (2 iter/s, 1s/1 iters), loss = 5
I1124 06:20:42.123456 12345 solver.cpp:239]     Train net output #0: loss = 4 (* 1 = 4 loss)
I1124 06:20:42.123456 12345 solver.cpp:239] Iteration 0, lr = 0.1
I1124 06:20:42.123456 12345 solver.cpp:239] Iteration 10 (2 iter/s, 1s/1 iters), loss = 3
I1124 06:20:42.123456 12345 solver.cpp:239]     Train net output #0: loss = 2 (* 1 = 2 loss)
I1124 06:20:42.123456 12345 solver.cpp:239] Iteration 10, lr = 0.1
I1124 06:20:42.123456 12345 solver.cpp:239] Iteration 10, Testing net (#0)
I1124 06:20:42.123456 12345 solver.cpp:239]     Test net output #0: accuracy = 0.5
"""  # noqa: E501


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "swwae-all.caffemodel"
    made_runs.random_weights("swwae-all", path)
    return path


@pytest.fixture
def runs(weights, tmp_path):
    """runs/ with a finished stage 4 of vgg8's swwae-all, and a stage 3 that failed."""
    root = tmp_path / "runs"
    made_runs.make(root, "swwae-all", 4, weights, log=LOG)
    made_runs.make(root, "swwae-all", 3, state="failed", iterations=7)
    return root


def test_five_lines(runs, tmp_path, monkeypatch):
    """What a researcher asks first of a run, with the shapes that come back."""
    monkeypatch.chdir(tmp_path)
    run = swwae.Run("runs/vgg8/swwae-all")
    model = run.model()
    probabilities = model.classify(["val:0", "val:1"])
    features = model.features(["val:0"], "conv3_2/pool")
    images, errors, originals = model.reconstruct(["val:0", "val:1"], depth=2)
    iterations, values = run.losses()["loss"]
    assert probabilities.shape == (2, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert features.shape[0] == 1 and features.ndim == 4
    assert images.shape == originals.shape == (2, 32, 32)
    assert images.dtype == originals.dtype == np.uint8
    assert errors.shape == (2,) and (errors > 0).all()
    assert iterations.tolist() == [0, 10] and values.tolist() == [4, 2]


def test_the_readmes_lines_run(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = text.partition("```python\n")[2].partition("```")[0]
    assert "model.features(images, " in lines
    exec(lines, {"images": np.zeros((1, 32, 32), np.uint8)})


def test_what_a_run_knows(runs):
    run = swwae.Run(runs / "vgg8/swwae-all")
    assert (run.net, run.variant, run.depth) == ("vgg8", "swwae-all", None)
    assert list(run.stages) == [3, 4]
    assert {k: v["state"] for k, v in run.status.items()} == {
        3: "failed",
        4: "finished",
    }
    assert run.weights() == runs / "vgg8/swwae-all/stage4/final.caffemodel"
    assert repr(run).endswith("stage 3 failed, stage 4 finished>")
    iterations, values = run.losses()["total loss"]
    assert iterations.tolist() == [0, 10] and values.tolist() == [5, 3]
    assert run.losses(test=True)["accuracy"][1].tolist() == [0.5]
    assert run.log().learning_rate[1].tolist() == [0.1, 0.1]
    assert run.model(depth=1).depth == 1


def test_a_run_by_its_network_and_variant(runs, monkeypatch):
    monkeypatch.setattr("swwae.base.project.RUNS", runs)
    assert swwae.Run("vgg8", "swwae-all").folder == runs / "vgg8/swwae-all"
    assert swwae.Run(runs / "vgg8/swwae-all/stage4").folder == runs / "vgg8/swwae-all"
    with pytest.raises(UserError, match="depth2: none of its stages has been started"):
        swwae.Run("vgg8", "swwae-all", depth=2)
    with pytest.raises(UserError, match="network and a variant"):
        swwae.Run(runs / "vgg8/swwae-all", depth=2)


def test_a_path_may_be_relative_to_the_project(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("swwae.base.project.ROOT", tmp_path)
    monkeypatch.chdir(runs)
    assert swwae.Run("runs/vgg8/swwae-all").folder == runs / "vgg8/swwae-all"
    assert swwae.Run("vgg8/swwae-all").folder == runs / "vgg8/swwae-all"


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda run: run.log(3), "stage 3 has not left a log"),
        (
            lambda run: run.model(3),
            "stage 3 has not finished; run .*tools/run_stage.sh 3",
        ),
        (lambda run: run.model(2), "stage 2 has not finished"),
        (lambda run: swwae.Run("nowhere"), "no folder nowhere"),
        (lambda run: run.model(depth=9), "--depth 9"),
    ],
)
def test_what_a_run_has_not_is_a_sentence(mistake, words, runs):
    (runs / "vgg8/swwae-all/stage3/train.log").unlink()
    with pytest.raises(swwae.UserError, match=words):
        mistake(swwae.Run(runs / "vgg8/swwae-all"))


def test_stages_that_trained_another_variant_have_no_model(weights, tmp_path):
    made_runs.make(tmp_path, "swwae-layerwise", 2, weights)
    (tmp_path / "vgg8/swwae-all").mkdir()
    run = swwae.Run(tmp_path / "vgg8/swwae-all")
    assert list(run.stages) == [2]
    with pytest.raises(UserError, match="no stage of it has finished"):
        run.model()
    assert run.weights(2).parent.name == "stage2"


# --- the package


def python(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_is_light_and_shows_what_there_is(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import swwae\n"
    code += "print(sorted({'caffe', 'numpy', 'swwae.notebook'} & sys.modules.keys()))\n"
    code += "print({'Run', 'Model', 'generate', 'networks'} <= set(dir(swwae)))"
    assert python(code, tmp_path).split() == ["[]", "True"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        swwae.Modle  # noqa: B018
    assert not hasattr(swwae, "numpy")


def test_the_generator_as_functions(tmp_path):
    assert "vgg8" in swwae.networks()
    assert "swwae-all" in swwae.variants()
    written = swwae.generate("vgg8", variant="sae-all", out=tmp_path)
    assert written and all(path.is_file() for path in written)


def test_its_images_are_those_of_files(weights, tmp_path):
    """RGB of any size, grey, and files are the same images."""
    model = swwae.Model("vgg8", "swwae-all", weights=weights)
    grey = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    Image.fromarray(grey[0]).save(tmp_path / "one.png")
    expected = model.classify(grey)
    assert expected.shape == (3, 10) and expected.dtype == np.float32
    mixed = [str(tmp_path / "one.png"), grey[1], np.repeat(grey[2][..., None], 3, 2)]
    np.testing.assert_array_equal(model.classify(mixed), expected)
    rgb = np.repeat(grey[..., None], 3, 3)
    np.testing.assert_array_equal(model.classify(rgb), expected)
    np.testing.assert_allclose(
        model.classify(tmp_path / "one.png"), expected[:1], atol=1e-6
    )
