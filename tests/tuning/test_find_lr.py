"""The search of stage 2's learning rates, on decoders whose losses are known."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from swwae.base.project import CAFFE
from swwae.tuning.grid import Grid
from swwae.tuning.losses import DIVERGENCE, averaged_count
from swwae.tuning.points import LossChange
from tests.helpers.linear_project import Project, expected

if not CAFFE.exists():
    pytest.skip("Caffe's program is not built", allow_module_level=True)

ITERATIONS = 40
PRESENT = {1: 0.02, 2: 0.02}
OPTIONS = ("--iterations", ITERATIONS, "--jobs", 2)


def energy(project: Project, macro_layer: int) -> float:
    """Of the activation that a macro-layer's decoder reads."""
    return float((project.activations[macro_layer] ** 2).sum())


def predicted(project: Project, index: int, factor: float) -> LossChange:
    """What the tool is to find, in units of the loss at the start."""
    rate = factor * PRESENT[index]
    losses = expected(energy(project, index), rate, ITERATIONS)
    diverged = next((i for i, loss in enumerate(losses) if loss > DIVERGENCE), None)
    if diverged is not None:
        return LossChange(1.0, None, diverged)
    tail = losses[-averaged_count(ITERATIONS) :]
    return LossChange(1.0, sum(tail) / len(tail), None)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With present rates as in PRESENT, which is for the generator to see to."""
    project = Project(tmp_path_factory.mktemp("find_lr") / "project")
    figures = {
        "values": {str(index): rate for index, rate in PRESENT.items()},
        "iterations": 1,
        "found_by": "tools/find_lr.py",
    }
    content = {"net": "linear", "layerwise_lr": {"swwae": figures}, "loss_weights": {}}
    (project.root / "solvers/linear/rates.json").write_text(json.dumps(content))
    project.generate()
    return project


@pytest.fixture(scope="module")
def search(project) -> tuple[str, dict]:
    """A whole search: what it said, and its JSON."""
    before = json.loads((project.root / "solvers/linear/rates.json").read_text())
    weights = ("--weights", project.classifier)
    files = ("--json", "found.json", "--plot", "found.png")
    said = project.tool("find_lr.py", *weights, *OPTIONS, *files)
    assert before != json.loads(
        (project.root / "solvers/linear/rates.json").read_text()
    )
    return said, json.loads((project.root / "found.json").read_text())


def kept(project: Project) -> dict[str, Path]:
    folder = project.root / "runs/linear/swwae-layerwise/find_lr"
    return {path.name: path for path in folder.glob("factor-*.json")}


def test_every_point_is_what_arithmetic_says(project, search):
    _, found = search
    for macro_layer in found["macro_layers"]:
        index = macro_layer["macro_layer"]
        start = macro_layer["start"]
        target = project.activations[index - 1]
        assert start == pytest.approx((target**2).sum() / 2, rel=0.02)
        compared = 0
        for point in macro_layer["points"]:
            wanted = predicted(project, index, point["factor"])
            if point["end"] is None and point["diverged"] is None:
                continue  # it had diverged at a smaller factor
            assert point["diverged"] == wanted.diverged, point
            if wanted.end is not None:
                assert point["end"] / start == pytest.approx(
                    wanted.end, rel=0.05, abs=1e-4
                )
            compared += 1
        assert compared >= 6


def test_the_best_rate_is_the_one_that_is_known_to_be(project, search):
    said, found = search
    rates = json.loads((project.root / "solvers/linear/rates.json").read_text())
    for macro_layer in found["macro_layers"]:
        index = macro_layer["macro_layer"]
        factors = Grid(0.01, 100, 3).factors()
        results = {factor: predicted(project, index, factor) for factor in factors}
        limit = min(f for f, r in results.items() if r.diverged is not None)
        stable = [f for f in factors if f < limit]
        best = min(stable, key=lambda f: results[f].end)
        rate = best * PRESENT[index]
        assert macro_layer["best_rate"] == pytest.approx(rate)
        assert macro_layer["highest_stable_rate"] == pytest.approx(
            max(stable) * PRESENT[index]
        )
        share = macro_layer["decrease"] / macro_layer["start"]
        assert share == pytest.approx(1 - results[best].end, rel=1e-3)
        values = rates["layerwise_lr"]["swwae"]["values"]
        assert values[str(index)] == pytest.approx(rate)
        assert f"{rate:.2g}" in said
    assert rates["layerwise_lr"]["swwae"]["iterations"] == ITERATIONS


def test_one_that_has_left_the_numbers_does_not_end_the_other(project, search):
    """x 46: the first is not finite long before the end, the second is stable."""
    _, found = search
    first, second = (
        next(p for p in macro_layer["points"] if p["factor"] == 46)
        for macro_layer in found["macro_layers"]
    )
    assert expected(energy(project, 1), 46 * PRESENT[1], ITERATIONS)[-1] > 1e38
    assert first["diverged"] is not None
    assert second["end"] is not None and second["diverged"] is None
    log = kept(project)["factor-46.json"].with_suffix(".log").read_text()
    assert re.search(r"loss@data = (nan|-nan|inf)", log)


def test_a_run_ends_when_all_have_diverged(project, search):
    content = json.loads(kept(project)["factor-100.json"].read_text())
    diverged = predicted(project, 2, 100).diverged
    assert content["results"]["2"]["diverged"] == diverged
    assert content["iterations"] == diverged + 1 < ITERATIONS


def test_the_plot_and_the_commands_are_there(project, search):
    said, _ = search
    assert (project.root / "found.png").read_bytes().startswith(b"\x89PNG")
    assert "python -m generator linear.prototxt --variant swwae-all" in said
    assert "sae-layerwise" not in said.replace("swwae-layerwise", "")


def test_a_finished_search_is_read_back_and_a_missing_point_made(project, search):
    _, before = search
    files = kept(project)
    contents = {name: path.read_bytes() for name, path in files.items()}
    files["factor-1.json"].unlink()
    files.pop("factor-1.json")
    times = {name: path.stat().st_mtime_ns for name, path in files.items()}
    weights = ("--weights", project.classifier)
    said = project.tool("find_lr.py", *weights, *OPTIONS, "--json", "again.json")
    assert re.findall(r"^ +x (\S+)", said, re.MULTILINE) == ["1"]
    assert {name: path.stat().st_mtime_ns for name, path in files.items()} == times
    assert json.loads((project.root / "again.json").read_text()) == before
    assert set(kept(project)) == set(contents)


def test_a_search_with_other_settings_wants_force(project, search):
    weights = ("--weights", project.classifier)
    said = project.tool("find_lr.py", *weights, "--iterations", 41, code=2)
    assert "begun with iterations 40, not 41; --force" in said
    damaged = kept(project)["factor-1.json"]
    whole = damaged.read_bytes()
    others = json.loads(whole)
    del others["results"]["2"]
    words = re.sub(rb'"end": \S+', b'"end": "fast"', whole)
    for content in (whole[:20], json.dumps(others).encode(), words):
        damaged.write_bytes(content)
        said = project.tool("find_lr.py", *weights, *OPTIONS, code=2)
        assert "factor-1.json is damaged" in said and "--force" in said
    damaged.write_bytes(whole)


def test_a_dry_run_leaves_nothing_and_stage_1_is_asked_for(project):
    family = ("--family", "sae")
    dry = ("--weights", project.classifier, "--dry-run")
    said = project.tool("find_lr.py", *family, *dry)
    assert "13 trainings of 2,000 iterations" in said
    assert not (project.root / "runs/linear/sae-layerwise").exists()
    said = project.tool("find_lr.py", *family, code=2)
    assert "tools/run_stage.sh 1 --net linear --variant sae-layerwise" in said


def test_after_the_stages_it_starts_from_stage_1(project):
    """As docs/imagenet.md has it, with `--net` and `--family` alone; and where runs
    are elsewhere, so is the search."""
    elsewhere = {"RUNS_DIR": "elsewhere"}
    family = ("--variant", "sae-layerwise")
    stage_1 = ("1", *family, "--weights", project.classifier)
    project.tool("run_stage.sh", *stage_1, environment=elsewhere)
    short = ("--iterations", 2, "--from", 1, "--to", 1, "--json", "after.json")
    before = (project.root / "solvers/linear/rates.json").read_bytes()
    said = project.tool("find_lr.py", "--family", "sae", *short, environment=elsewhere)
    (project.root / "solvers/linear/rates.json").write_bytes(before)
    assert "elsewhere/linear/sae-layerwise/stage1/final.caffemodel" in said
    folder = project.root / "elsewhere/linear/sae-layerwise"
    assert (folder / "find_lr/factor-1.json").exists()
    found = json.loads((project.root / "after.json").read_text())
    for macro_layer in found["macro_layers"]:
        energy = (project.activations[macro_layer["macro_layer"] - 1] ** 2).sum()
        assert macro_layer["start"] == pytest.approx(energy / 2, rel=0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_caffe_and_no_rates(project, number):
    rates = (project.root / "solvers/linear/rates.json").read_text()
    log = project.root / "runs/linear/sae-layerwise/find_lr/factor-0.log"
    log.unlink(missing_ok=True)
    command = [project.root / "tools/find_lr.py", "--net", "linear", "--family", "sae"]
    options = ["--iterations", 2_000_000, "--weights", project.classifier, "--force"]
    process = project.start([*command, *options])
    _wait_for(log, process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "interrupted" in said and "Traceback" not in said
    assert not log.with_name("start.json").exists()
    assert _caffes(project.root) == []
    assert (project.root / "solvers/linear/rates.json").read_text() == rates


def _wait_for(path: Path, process) -> None:
    end = time.monotonic() + 60
    while not (path.is_file() and path.stat().st_size):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


def _caffes(root: Path) -> list[int]:
    """Processes of Caffe's that work in a project."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            here = (path / "cwd").readlink() == root
            if here and b"caffe" in (path / "cmdline").read_bytes().split(b"\0")[0]:
                found.append(int(path.name))
        except OSError:
            continue
    return found
