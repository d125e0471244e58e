"""What a report is made of: stages, curves, tables, filters, and what --live serves."""

import http.client
import json
import math
import re
import socket
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from generator.errors import UserError
from swwae.engine.log import SEPARATOR
from swwae.evaluation import results
from swwae.report import live, tables, values
from swwae.report.curves import MOST_POINTS, curves, thinned
from swwae.report.images import Filters, decoded_depths, one_of_each_class
from swwae.report.page import (
    Pictures,
    page,
    sections,
    tables_of,
)
from swwae.report.stages import collect
from swwae.report.table_1 import table_1
from swwae.runs.run import Run

PREFIX = "I1124 06:20:42.123456 12345 solver.cpp:239] "


def log_lines(iteration: int, loss: object, rate: float = 2.0) -> str:
    return (
        f"{PREFIX}Iteration {iteration} ({rate} iter/s, 1s/1 iters), loss = {loss}\n"
        f"{PREFIX}    Train net output #0: loss = {loss} (* 1 = {loss} loss)\n"
        f"{PREFIX}Iteration {iteration}, lr = 0.1\n"
    )


def write(run: Run, state: str = "finished", **status: object) -> Run:
    """A run that says so; where it is finished, with weights that nobody reads."""
    run.folder.mkdir(parents=True, exist_ok=True)
    whole = {"state": state, "iterations": 0, "weights_out": {"sha256": "0"}} | status
    run.write_status(whole)
    if state == "finished":
        run.final_weights.touch()
    return run


@pytest.fixture
def swwae(tmp_path):
    """Finished stages of vgg8's swwae-all, and those they build on."""
    runs = [Run("vgg8", "swwae-all", stage, root=tmp_path) for stage in range(5)]
    return [write(run) for run in runs]


# --- which stages there are


def test_shared_stages_are_there_once_and_labelled_by_whose_they_are(tmp_path, swwae):
    write(Run("vgg8", "swwae-first", 3, root=tmp_path))
    found = collect([tmp_path / "vgg8/swwae-all", tmp_path / "vgg8/swwae-first"])
    assert [stage.title for stage in found.stages] == [
        "baseline, stage 0",
        "swwae-layerwise, stage 1",
        "swwae-layerwise, stage 2",
        "swwae-all, stage 3",
        "swwae-all, stage 4",
        "swwae-first, stage 3",
    ]
    # the last finished stage of each that has a decoder of its own
    assert [stage.title for stage in found.decoders] == [
        "swwae-all, stage 4",
        "swwae-first, stage 3",
    ]
    (notice,) = found.notices
    assert notice.startswith("stage 4 of vgg8/swwae-first has not been started: ")
    assert "run_stage.sh 4 --net vgg8 --variant swwae-first" in notice


def test_runs_of_several_folders_are_labelled_by_folder(tmp_path):
    for seed in ("one", "two"):
        write(Run("vgg8", "baseline", 0, root=tmp_path / seed))
    found = collect([tmp_path / seed / "vgg8/baseline" for seed in ("one", "two")])
    assert [stage.label for stage in found.stages] == [
        str(tmp_path / "one/vgg8/baseline"),
        str(tmp_path / "two/vgg8/baseline"),
    ]


def test_what_cannot_be_shown_is_named_and_the_rest_is_shown(tmp_path, swwae):
    write(Run("alexnet", "baseline", 0, root=tmp_path))
    write(swwae[3], "interrupted", iterations=40, max_iter=470)
    write(swwae[2], "failed", iterations=7, fault="the loss is nan.")
    swwae[1].final_weights.unlink()
    write(swwae[4], net="alexnet")
    found = collect(
        tmp_path / place
        for place in ("vgg8/swwae-all", "alexnet/baseline", "vgg8/sae-all")
    )
    assert [stage.run for stage in found.stages] == swwae[:4]
    text = "\n".join(found.notices)
    assert (
        "stage 3 of vgg8/swwae-all was interrupted after 40 of 470 iterations" in text
    )
    assert "failed after 7 iterations: the loss is nan." in text
    assert "stage 1 of vgg8/swwae-layerwise is finished, but" in text
    assert "stage4 is left out: its status.json says that it is of another" in text
    assert "alexnet/baseline is left out: it is a run of alexnet, this page" in text
    assert "there is no folder" in text and "vgg8/sae-all" in text
    assert not found.decoders


def test_where_nothing_can_be_shown_all_reasons_are_given(tmp_path):
    with pytest.raises(UserError) as error:
        collect([tmp_path / "vgg8/sae-all", tmp_path])
    assert "there is no folder" in str(error.value)
    assert "is no run" in str(error.value)


def test_stages_before_the_users_own_weights_are_not_missing(tmp_path):
    write(Run("vgg8", "sae-layerwise", 2, root=tmp_path))
    (tmp_path / "vgg8/sae-layerwise").mkdir(exist_ok=True)
    found = collect([tmp_path / "vgg8/sae-layerwise"])
    (notice,) = found.notices
    assert notice.startswith("stage 4 of vgg8/sae-layerwise has not been started")


def test_a_running_stage_is_as_far_as_its_log(tmp_path):
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    with run.locked():
        write(run, "running", iterations=100, max_iter=1000)
        began = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
        run.log.write_text(
            f"{SEPARATOR}{began} caffe train\n"
            # the rate of a session's first display means nothing
            + "".join(
                log_lines(*own) for own in ((0, 2, 1e6), (100, 2, 1), (200, 2, 4))
            )
        )
        (stage,) = collect([tmp_path / "vgg8/baseline"]).stages
        assert stage.iterations == 200
        assert stage.seconds_left == pytest.approx(800 * (1 / 1 + 1 / 4) / 2)
        assert 300 <= stage.seconds < 360


# --- curves


def test_a_resumed_session_is_as_far_as_it_has_displayed(tmp_path):
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    with run.locked():
        write(run, "running", iterations=400, max_iter=1000)
        began = datetime.now(UTC).isoformat()
        old = log_lines(400, 2) + log_lines(640, 2)
        for displayed, reached in (([], 400), ([400, 420], 420)):
            lines = "".join(log_lines(iteration, 2) for iteration in displayed)
            run.log.write_text(f"{old}{SEPARATOR}{began} caffe train\n{lines}")
            (stage,) = collect([tmp_path / "vgg8/baseline"]).stages
            assert stage.iterations == reached


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    log = tmp_path / "train.log"
    log.write_text(log_lines(0, 2.5) + log_lines(20, 153.2).partition("53.2")[0])
    found = curves(log)
    assert (found.iteration, found.series[0]["y"]) == (0, [2.5])


def test_a_session_without_a_zone_or_with_an_endless_rate(tmp_path):
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    with run.locked():
        write(run, "running", max_iter=10**400)
        began = (datetime.now() - timedelta(minutes=5)).isoformat()
        lines = "".join(log_lines(i, 2, rate) for i, rate in ((0, 1), (20, math.inf)))
        run.log.write_text(f"{SEPARATOR}{began} caffe train\n{lines}")
        (stage,) = collect([tmp_path / "vgg8/baseline"]).stages
        assert stage.seconds == pytest.approx(300, abs=30)
        assert stage.curves.rate is None and stage.seconds_left is None


def test_a_damaged_stage_is_named_and_the_others_are_shown(tmp_path, swwae):
    (swwae[1].folder / "status.json").write_text("[" * 200_000)
    (swwae[2].folder / "status.json").unlink()
    (swwae[2].folder / "status.json").mkdir()
    found = collect([tmp_path / "vgg8/swwae-all"])
    assert [stage.run for stage in found.stages] == [swwae[0], *swwae[3:]]
    assert len(found.notices) == 2
    for run, notice in zip(swwae[1:3], found.notices, strict=True):
        assert f"{run.folder}/status.json is damaged" in notice
        assert f"run_stage.sh {run.stage} " in notice


def test_series_are_thinned_evenly_with_both_ends():
    x = np.arange(5000)
    kept, values = thinned((x, x / 2))
    assert len(kept) == MOST_POINTS and (kept[0], kept[-1]) == (0, 4999)
    assert set(np.diff(kept)) <= {8, 9}
    np.testing.assert_array_equal(values, kept / 2)


def test_curves_of_a_log(tmp_path):
    log = tmp_path / "train.log"
    log.write_text(
        log_lines(0, 2.5)
        + log_lines(10, "nan")
        + f"{PREFIX}Iteration 10, Testing net (#0)\n"
        + f"{PREFIX}    Test net output #0: accuracy = 0.5\n"
    )
    found = {(each["name"], each["phase"]): each for each in curves(log).series}
    assert found["total loss", "training"]["x"] == [0, 10]
    assert found["loss", "training"]["y"] == [2.5, None]
    assert found["accuracy", "test"] == {
        "name": "accuracy",
        "phase": "test",
        "x": [10],
        "y": [0.5],
    }
    assert curves(tmp_path / "none").series == ()
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        curves(tmp_path)


# --- tables


def result(**values: object) -> dict:
    return {
        "net": "vgg8",
        "variant": "swwae-all",
        "depth": None,
        "weights": "final.caffemodel",
        "scheme": "single-crop",
        "split": "val",
        "seed": None,
        "images": 100,
        "top1_error": 9.02,
        "top5_error": 0.25,
        "recon_l2": 8.68,
    } | values


def record(run: Run, found: dict) -> None:
    assert results.record(run, found, results.checksum_of(run.final_weights))


def test_table_1_has_what_is_known_beside_the_papers(tmp_path, swwae):
    record(swwae[4], result(images=10, top1_error=50.0))
    record(swwae[4], result(depth=3))
    record(swwae[4], result(depth=1, images=999, recon_l2=1.0))
    notices = []
    experiment = collect([tmp_path / "vgg8/swwae-all"])
    table = table_1(experiment.stages, notices)
    ours, paper = table.groups["swwae-all"]
    assert ours.title == "swwae-all, stage 4" and ours.l2 == 8.68
    # single-crop top-1 train, val; top-5 train, val; convolution top-1, top-5 val
    assert ours.errors == [None, 9.02, None, 0.25, None, None]
    assert paper.errors == [15.67, 27.39, 3.24, 9.06, 25.79, 8.13]
    assert table.images == {"val": [100]}
    commands = dict(table.commands)
    assert commands["swwae-all, stage 4: convolution, val"] == (
        f"tools/evaluate.py --net vgg8 --variant swwae-all --weights"
        f" {swwae[4].final_weights} --scheme convolution --split val"
    )
    assert "swwae-all, stage 4: single-crop, val" not in commands
    assert not notices


def test_damaged_results_are_named(tmp_path, swwae):
    (swwae[4].folder / results.NAME).write_text("[")
    notices = []
    experiment = collect([tmp_path / "vgg8/swwae-all"])
    table_1(experiment.stages, notices)
    assert any("results.json is no JSON file" in notice for notice in notices)


@pytest.mark.parametrize(
    ("depth", "words"), [("a", "holds other things"), (9, "--depth 9: vgg8")]
)
def test_results_of_no_depth_are_named(depth, words, tmp_path, swwae):
    record(swwae[4], result())
    path = swwae[4].folder / results.NAME
    (recorded,) = json.loads(path.read_text())
    path.write_text(json.dumps([recorded | {"depth": depth}]))
    notices = []
    table_1(collect([tmp_path / "vgg8/swwae-all"]).stages, notices)
    assert len(notices) == 1 and words in notices[0]


def test_losses_are_in_the_order_of_the_macro_layers(tmp_path, swwae):
    values = {"total": 0.2, "loss": 0.15, "dec:loss@conv2_2": 31.0}
    values |= {"dec:loss@data/scaled": 5.8, "dec:loss@conv1_2": "nan"}
    weights = {"loss": 1.0, "total": 1.0}
    final = {
        name: {"iteration": 640, "value": value, "weight": weights.get(name, 0.5)}
        for name, value in values.items()
    }
    test = {"accuracy": {"iteration": 658, "value": 0.91}}
    write(swwae[4], final_losses=final, test_outputs=test)
    stage = collect([tmp_path / "vgg8/swwae-all"]).stages[-1]
    found = tables.losses(stage)
    assert [loss.name for loss in found] == [
        "dec:loss@data/scaled",
        "dec:loss@conv1_2",
        "dec:loss@conv2_2",
        "loss",
        "accuracy",
        "total",
    ]
    assert found[2].weighted(found[2].training) == 15.5
    assert found[1].weighted(found[1].training) is None
    assert (found[4].weight, found[4].test) == (None, 0.91)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (values.number_text(0.00123456), "0.001235"),
        (values.number_text("nan"), "nan"),
        (values.number_text(None), "–"),
        (values.bytes_text(61_685_760), "61.7 MB"),
        (values.bytes_text(7.3e9), "7.3 GB"),
        (values.bytes_text(12), "12 bytes"),
        (values.seconds_text(3700), "1:01:40"),
        (values.seconds_text("x"), "–"),
        (values.seconds_text(math.inf), "–"),
        (values.bytes_text(math.nan), "–"),
        (values.number_text(10**400, ",.0f"), str(10**400)),
    ],
)
def test_figures_for_people(text, shown):
    assert text == shown


def test_a_status_of_the_wrong_types_is_shown_as_far_as_it_goes(tmp_path):
    wrong = {"max_iter": "many", "seconds": [], "command": 3, "host": "h", "seed": {}}
    wrong |= {"final_losses": {"loss": 4}, "test_outputs": [], "weights_in": "w"}
    run = write(Run("vgg8", "baseline", 0, root=tmp_path), versions=None, **wrong)
    shown = tables_of(collect([run.folder]), [])
    assert ">loss</th>" in sections(shown)["losses"]
    assert "<dd>h</dd>" in sections(shown)["provenance"]


def test_what_files_say_is_text(tmp_path):
    attack = "</script><script>alert(1)</script>"
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    write(run, "failed", fault=attack, device=attack)
    run.log.write_text(log_lines(0, 2.5).replace("loss = 2.5 (", f"{attack} = 2.5 ("))
    shown = tables_of(collect([run.folder]), [])
    text = page(shown, Pictures(None, []), created="today", command=attack)
    assert "<script>alert" not in text
    assert text.count("<script>") == 1 and text.count("</script>") == 2


def test_what_is_no_number_or_no_text_leaves_the_page_whole(tmp_path):
    run = write(Run("vgg8", "baseline", 0, root=tmp_path))
    status = json.dumps(run.status() | {"device": "\ud800"})
    (run.folder / "status.json").write_text(status)
    change = {"conv1": math.nan, "conv2": 5.0}
    shown = tables_of(collect([run.folder]), [])
    pictures = Pictures(None, [Filters("baseline", None, None, None, change)])
    text = page(shown, pictures, created="today", command="\udcff")
    text.encode()
    start = text.index('<script type="application/json" id="data">')
    source = text[text.index(">", start) + 1 : text.index("</script>", start)]

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    assert json.loads(source, parse_constant=refuse)["filters"] == [
        {"title": "baseline", "layer": None, "before": None, "after": None}
    ]
    assert ">5.0</span>" in text  # the table has them


def test_a_stage_keeps_its_id_when_another_one_begins(tmp_path):
    late = write(Run("vgg8", "baseline", 1, root=tmp_path))

    def ids():
        html = sections(tables_of(collect([late.folder]), []))["provenance"]
        return re.findall(r'<details id="(.+?)"', html)

    (before,) = ids()
    write(Run("vgg8", "baseline", 0, root=tmp_path))
    assert ids() == ["made-baseline-stage-0", before]


# --- pictures


def test_one_of_each_class_is_named_by_its_place():
    labels = [2, 0, 2, 1, 0]
    database = [(np.full((1, 1, 1), i), label) for i, label in enumerate(labels)]
    found = one_of_each_class(database, 10)
    assert list(found) == ["val:1 (class 0)", "val:3 (class 1)", "val:0 (class 2)"]
    assert [int(image.sum()) for image in found.values()] == [1, 3, 0]
    assert len(one_of_each_class(database, 2)) == 2


def test_depths_up_to_that_of_the_run():
    assert decoded_depths(Run("vgg8", "sae-all", 4)) == [1, 2, 3]
    assert decoded_depths(Run("vgg8", "sae-all", 4, depth=2)) == [1, 2]


def test_a_layerwise_decoder_inverts_the_first_macro_layer_alone():
    for depth in (None, 2, 4):
        assert decoded_depths(Run("vgg8", "swwae-layerwise", 4, depth)) == [1]


# --- what --live serves


@pytest.fixture
def server():
    """Asks a server for an address; the data are a number that grows."""
    counts = iter(range(100))
    port: list[int] = []
    started = threading.Event()

    def ready(address):
        port.append(int(address.rstrip("/").rpartition(":")[2]))
        started.set()

    def data():
        if next(counts) == 0:
            return {"value": 1}
        raise UserError("the runs are gone.")

    thread = threading.Thread(
        target=live.serve,
        args=(live.Server(0), lambda: "<p>page</p>", data, ready),
        daemon=True,
    )
    thread.start()
    assert started.wait(10)

    def ask(path, host=None, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", port[0], timeout=10)
        connection.request(
            method, path, headers={"Host": host or f"127.0.0.1:{port[0]}"}
        )
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers

    ask.port = port[0]
    return ask


def test_only_the_page_and_its_data_are_served(server):
    status, text, headers = server("/")
    assert (status, text) == (200, "<p>page</p>")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    status, text, _ = server("/data.json")
    assert (status, json.loads(text)) == (200, {"value": 1})
    for path in ("/index.html", "/../setup.py", "/%2e%2e/setup.py", "//etc/passwd"):
        assert server(path)[0] == 404
    assert server("/", method="HEAD")[:2] == (200, "")
    assert server("/", method="POST")[0] == 501


def test_another_sites_name_is_refused(server):
    assert server("/data.json", host=f"localhost:{server.port}")[0] == 200
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1:1"):
        assert server("/data.json", host=host)[0] == 403
        assert server("/", host=host)[0] == 403


@pytest.mark.parametrize("made", [UserError("gone."), KeyError("gone")])
def test_what_cannot_be_made_is_answered_by_a_sentence(made):
    def fail():
        raise made

    with live.Server(0) as server:
        thread = threading.Thread(
            target=live.serve, args=(server, fail, fail, lambda address: None)
        )
        thread.start()
        try:
            for path in ("/", "/data.json"):
                connection = http.client.HTTPConnection(
                    "127.0.0.1", server.server_port, timeout=10
                )
                connection.request("GET", path)
                answer = connection.getresponse()
                text = answer.read().decode()
                assert answer.status == (503 if isinstance(made, UserError) else 500)
                assert "gone" in (text if path == "/" else json.loads(text)["error"])
        finally:
            server.shutdown()
            thread.join()


def test_data_are_not_made_anew_at_once():
    made = []
    cached = live.Cached(lambda: made.append(1) or len(made))
    assert [cached(), cached()] == [1, 1]
    cached._until = 0
    assert cached() == 2


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} cannot be had.*--port N"):
            live.Server(port)


# --- the program


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs/none/none"], "there is no folder runs/none/none"),
        (["runs", "--live", "--out", "x.html"], "--live writes no file"),
        (["runs", "--port", "3"], "--port is that of --live"),
        (["runs", "--out", "x.txt"], "the page is a .html file"),
        (["runs", "--live", "--port", "65536"], "no whole number"),
    ],
)
def test_mistakes_are_sentences(arguments, sentence, monkeypatch, capsys):
    from swwae.base import program
    from swwae.commands import report

    monkeypatch.setattr(sys, "argv", ["report.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        program.run(report.main)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_no_page_where_its_folder_is_missing(tmp_path, swwae, monkeypatch, capsys):
    from swwae.base import program
    from swwae.commands import report

    out = tmp_path / "none" / "page.html"
    run = str(tmp_path / "vgg8/swwae-all")
    monkeypatch.setattr(sys, "argv", ["report.py", run, "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        program.run(report.main)
    assert ended.value.code == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not Path(out).parent.exists()


def test_a_collapse_is_named_and_its_figures_shown(tmp_path, swwae):
    change = {"conv1/pool": {"before": 2.0, "after": 0.01}}
    write(swwae[4], activations=change, warning="the encoder has collapsed: why.")
    experiment = collect([swwae[4].folder.parent])
    stage = next(s for s in experiment.stages if s.run.stage == 4)
    (found,) = tables.activations(stage)
    assert (found.name, found.before, found.after) == ("conv1/pool", 2.0, 0.01)
    assert found.share == pytest.approx(0.5)
    page = sections(tables_of(experiment, []))
    assert "the encoder has collapsed: why." in page["notices"]
    assert "conv1/pool" in page["losses"] and ">0.5<" in page["losses"]


def test_refusals_come_before_long_work(tmp_path, swwae, monkeypatch, capsys):
    from swwae.base import program
    from swwae.commands import report

    work: list[str] = []
    for name in ("evaluate_missing", "Report"):
        monkeypatch.setattr(report, name, lambda *_, name=name, **__: work.append(name))
    run = str(tmp_path / "vgg8/swwae-all")
    (tmp_path / "report.html").mkdir()  # where the page would be written
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options in ([], ["--live", "--port", port]):
            monkeypatch.setattr(sys, "argv", ["report.py", run, "--evaluate", *options])
            with pytest.raises(SystemExit) as ended:
                program.run(report.main)
            assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "report.html is a folder" in said and "cannot be had" in said
    assert not work
