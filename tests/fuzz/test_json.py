"""JSON files that are not what was written: every reader, whatever they say."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from generator import data_labels, manifest, rates
from generator.errors import UserError
from generator.networks import VGG8
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from swwae.datasets import database_folders, encoded_state
from swwae.evaluation import paper_table, results
from swwae.experiments import reproduction_run
from swwae.figures import results as figure
from swwae.nets import databases
from swwae.report import page, stages
from swwae.runs.run import Run
from swwae.stages import changes, repair, reruns, status
from swwae.stages.request import Request
from swwae.tuning import journal
from tests.helpers import datum_lmdb, made_runs, reported
from tests.helpers.fuzzing import SEEDS, altered, counted, damaged, examples

RECORD = {"path": "solvers/vgg8/baseline/stage0.prototxt", "sha256": "0" * 64}
STATUS = {
    "state": "finished",
    "stage": 0,
    "net": "vgg8",
    "variant": "baseline",
    "depth": None,
    "command": ["tools/run_stage.sh", "0", "--net", "vgg8"],
    "caffe_command": ["build/caffe/bin/caffe", "train"],
    "started": "2026-11-24T06:20:42+00:00",
    "ended": "2026-11-24T06:30:42+00:00",
    "pid": 1234,
    "seed": 1,
    "device": "CPU (no GPU found)",
    "gpu": {"cards": [{"number": 0, "name": "x", "memory_mb": 80}], "math": "fp32"},
    "host": {"cpu": "x", "cores": 2, "threads": {"OMP_NUM_THREADS": "1"}},
    "versions": {"project": "abc", "caffe": "1.0", "fork": None},
    "solver": RECORD,
    "network": {"path": "models/vgg8/baseline/train_val.prototxt", "sha256": "1" * 64},
    "data": ["data/fashion_mnist/train_lmdb"],
    "weights_in": {"path": "x.caffemodel", "sha256": "2" * 64},
    "weights_out": {"path": "y.caffemodel", "sha256": "3" * 64},
    "iterations": 60,
    "max_iter": 60,
    "seconds": 12.5,
    "peak_memory_bytes": 1 << 28,
    "iterations_per_second": 4.8,
    "resumed_from": [20, 40],
    "earlier_sessions": [{"iterations": [0, 20], "device": "CPU", "gpu": {}}],
    "copied": {"layers": ["conv1_1"], "parameters": 12},
    "fresh": {"layers": [], "parameters": 0},
    "final_losses": {"loss": {"iteration": 59, "value": 0.3, "weight": 1.0}},
    "test_outputs": {"accuracy": {"iteration": 60, "value": 0.9}},
    "activations": {"conv1_1": 0.5},
    "warning": None,
    "fault": "it failed",
}
RESULT = {
    "net": "vgg8",
    "variant": "baseline",
    "depth": None,
    "weights": "x.caffemodel",
    "scheme": "single-crop",
    "split": "val",
    "images": 10000,
    "seed": None,
    "top1_error": 9.25,
    "top5_error": 0.5,
    "recon_l2": None,
    "weights_sha256": "0" * 64,
}
ROW = RESULT | {
    "model": "baseline",
    "stage": 4,
    "labels": None,
    "training_seed": 1,
}
FIGURES = {"values": {"1": 0.002, "2": 0.5}, "iterations": 2000, "found_by": "x"}
RATES = {
    "net": "vgg8",
    "layerwise_lr": {"swwae": FIGURES},
    "loss_weights": {"swwae-all": {**FIGURES, "values": {"0": 1e-4, "1": 0.2}}},
}
POINT = {
    "factor": 0.1,
    "iterations": 100,
    "seconds": 3.5,
    "results": {
        "1": {"start": 2.0, "end": 1.0, "diverged": None},
        "2": {"start": 2.0, "end": None, "diverged": 7},
    },
}
SEARCH = {"iterations": 2000, "seed": 1, "weights": RECORD, "solver": RECORD}
INFO = {"bytes": 16384, "images": 2, "images_per_label": [1, 1], "made_from": {}}
PARTIAL = INFO | {"done": 2, "skipped": 0}


def write(path: Path, value: object, seed: int) -> None:
    """As it is, or a damaged text of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(value).encode("utf-8", "surrogatepass")
    if seed % 4 == 0:
        content = damaged([content, b"[" * 5000, b"1" * 5000], seed)
    note(content[:2000])
    path.write_bytes(content)


def refused(read, *arguments: object) -> None:
    """A reader's answer, whatever it is, or one sentence."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            read(*arguments)
        except UserError as error:
            assert str(error).strip()
    assert "Traceback" not in said.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def run(root: Path) -> Run:
    weights = root / "weights.caffemodel"
    made_runs.random_weights("baseline", weights)
    log = "".join(reported.log_lines(iteration, 2.5) for iteration in (0, 20, 40))
    solver = Run("vgg8", "baseline", 0).solver.read_text()
    return made_runs.make(root, "baseline", 0, weights, log=log, solver=solver)


@examples(20)
@given(altered(STATUS), SEEDS)
def test_status(run, value, seed):
    write(run.status_file, value, seed)
    request = Request(command="tools/run_stage.sh 0", seed=1)
    later = Run("vgg8", "baseline", 4, root=run.root)
    fresh = {"weights_in": None, "started": "now", "earlier_sessions": []}
    with counted("status.json"):
        refused(status.print_status, run)
        refused(reruns.is_done, run, request, None, 100)
        refused(changes.refuse_changes_before, later)
        refused(changes.first_weights_of, run)
        refused(lambda: status.add_history(dict(fresh), run.status(), 60, True))
        refused(lambda: page.sections(page.tables_of(shown(run), [])))
        refused(repair.repair, run, "tools/run_stage.sh 0")
        assert run.status()["iterations"] >= 0  # it is whole now, if it was not


def shown(run: Run) -> stages.Experiment:
    return stages.collect([run.folder])


@examples(30)
@given(altered([RESULT, {**RESULT, "variant": "swwae-all", "recon_l2": 6.5}]), SEEDS)
def test_results(run, root, value, seed):
    run.write_status(STATUS)
    for result in value if isinstance(value, list) else []:
        if isinstance(result, dict) and result.get("weights_sha256") == "0" * 64:
            result["weights_sha256"] = results.checksum_of(run.final_weights)
    write(run.folder / results.NAME, value, seed)
    with counted("results.json"):
        refused(results.known, run)
        refused(results.find, run, RESULT)
        refused(results.record, run, RESULT, results.checksum_of(run.final_weights))
        write(run.folder / results.NAME, value, seed)
        refused(
            lambda: paper_table.comparison(paper_table.read(run.folder / results.NAME))
        )
        refused(lambda: page.sections(page.tables_of(shown(run), [])))


@examples(30)
@given(altered({"seconds": 12.5, "rows": [ROW, {**ROW, "training_seed": 2}]}), SEEDS)
def test_rows_of_a_reproduction(root, value, seed):
    path = root / "results.json"
    write(path, value, seed)
    with counted("results.json of a reproduction"):
        refused(lambda: figure.by_model(figure.read(path)))
        refused(reproduction_run.seconds_before, Out(root))


class Out:
    """What `seconds_before` looks at of a reproduction."""

    def __init__(self, out: Path) -> None:
        self.out = out


@examples(30)
@given(altered(RATES), SEEDS)
def test_rates(root, value, seed):
    write(root / "solvers/vgg8/rates.json", value, seed)
    with counted("rates.json"):
        refused(
            lambda: rates.read_rates(root, "vgg8", 5).applied(
                VGG8, VARIANTS["swwae-all"], 3
            )
        )


MANIFEST = json.loads((ROOT / "models/vgg8/network.json").read_text())


@examples(30)
@given(altered(MANIFEST), SEEDS)
def test_manifest(root, value, seed):
    write(root / "models/vgg8/network.json", value, seed)
    with counted("network.json"):
        refused(manifest.read, root, "vgg8")


@examples(30)
@given(altered([SEARCH, POINT, {"1": 2.0, "2": 3.0}]), SEEDS)
def test_what_a_search_keeps(root, run, value, seed):
    run.write_status(STATUS)
    search = journal.RateSearch("vgg8", "swwae-layerwise", 2, root=root)
    kept = journal.Journal(search, 2000, 1, run.final_weights, [1, 2])
    parts = [*(value if isinstance(value, list) else [value]), None, None, None][:3]
    names = (journal.SETTINGS, "factor-0p1.json", journal.INITIAL_LOSSES)
    if seed % 3:
        parts[0] = kept._settings  # or the points would not be looked at
    for name, part in zip(names, parts, strict=True):
        write(search.folder / name, part, seed if name == names[seed % 3] else 1)
    with counted("journal of a search"):
        refused(kept.read_points)
        refused(kept.read_initial_losses)


@examples(30)
@given(altered(INFO), altered(PARTIAL), SEEDS)
def test_what_is_said_of_databases(root, info, partial, seed):
    path = root / "x_lmdb"
    write(path / "info.json", info, seed)
    (path / "data.mdb").write_bytes(bytes(16384))
    write(root / "x_lmdb.partial/info.json", partial, seed)
    (root / "x_lmdb.partial/data.mdb").touch()
    with counted("info.json"):
        refused(database_folders.read_info, path)
        data_labels._counts(path)
        encoded_state.partial_state(path)


@examples(20)
@given(st.data(), SEEDS)
def test_what_is_known_of_a_database(root, data, seed):
    folder = root / "y_lmdb"
    if not folder.exists():
        datum_lmdb.write(folder, [datum_lmdb.image(label) for label in (0, 1, 3)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(databases.project, "RUNS", root / "runs")
        databases._record_file(folder).unlink(missing_ok=True)
        expected = databases.examined(folder)
        original = json.loads(databases._record_file(folder).read_text())
        value = data.draw(altered(original))
        write(databases._record_file(folder), value, seed)
        with counted("what is known of a database"):
            found = databases.examined(folder)
        if not isinstance(value, dict) or value.get("state") != original["state"]:
            assert found == expected
