"""The page's tables equal what the runs hold."""

import json
import shutil

from generator.paper import TABLE_1
from tests.helpers.report_page import rows


def test_table_1_equals_what_evaluate_finds(page, found):
    train, val, whole = found["errors"].values()
    assert val["top1_error"] > 0
    expected = [train["top1_error"], val["top1_error"]]
    expected += [train["top5_error"], val["top5_error"]]
    expected += [whole["top1_error"], whole["top5_error"]]
    table = {row[0]: row[1:] for row in rows(page, "#table-1")[3:]}
    assert table["swwae-all, stage 4"] == [
        *(f"{error:.2f}" for error in expected),
        f"{val['recon_l2']:.4g}",
    ]
    paper = [f"{error:.2f}" for error in TABLE_1["swwae-all"][1]]
    assert table["SWWAE-all, paper"] == [*paper, "–"]
    assert "baseline, stage 0" in table
    assert page.locator("#empty-cells").count() == 0


def test_what_is_not_evaluated_is_empty_and_has_its_command(opened, project):
    stage = "runs/tiny/baseline/stage0"
    shutil.copytree(project.root / stage, project.root / "other" / stage[5:])
    (project.root / "other" / stage[5:] / "results.json").unlink(missing_ok=True)

    def cells(page) -> list[str]:
        table = {row[0]: row[1:] for row in rows(page, "#table-1")[3:]}
        return table["baseline, stage 0"]

    said = project.report("other/tiny/baseline")
    assert "other/report.html: 0." in said
    page = opened((project.root / "other/report.html").as_uri())
    assert cells(page) == ["–"] * 7
    page.locator("#empty-cells summary").click()
    command = page.locator("#empty-cells code").first.inner_text()
    project.run(command.split())
    project.report("other/tiny/baseline")
    page.reload()
    filled = [True, False, True, False, False, False, False]
    assert [cell != "–" for cell in cells(page)] == filled


def test_losses_are_the_statuses(page, project):
    status = project.status("swwae-all/stage4")
    table = rows(page, '#loss-table tbody[data-stage="swwae-all, stage 4"]')
    assert [row[0] for row in table[1:]] == [
        "dec:loss@data",
        "dec:loss@conv1",
        "loss",
        "accuracy",
        "total",
    ]
    loss = status["final_losses"]["dec:loss@conv1"]
    test = status["test_outputs"]["dec:loss@conv1"]["value"]
    numbers = [loss["weight"], loss["value"], loss["weight"] * loss["value"]]
    numbers += [test, loss["weight"] * test]
    assert table[2][1:] == [f"{number:.4g}" for number in numbers]


def test_stages_time_and_memory_are_the_statuses(page, project):
    status = project.status("swwae-all/stage4")
    memory = status["peak_memory_bytes"]
    assert 20e6 < memory < 1e9
    (row,) = (r for r in rows(page, "#stages table") if r[0] == "swwae-all, stage 4")
    assert (row[1], row[3]) == ("finished", "8 of 8")
    assert row[6:] == [
        f"{status['iterations_per_second']:.3g}",
        f"{memory / 1e6:.1f} MB",
    ]


def test_the_peak_of_all_sessions_is_kept(project):
    path = project.root / "sessions/tiny/baseline/stage0/status.json"
    peaks = []
    for iterations, before in ((8, None), (16, 10**15), (24, 1)):
        if before is not None:
            status = json.loads(path.read_text()) | {"peak_memory_bytes": before}
            path.write_text(json.dumps(status))
        settings = {"RUNS_DIR": "sessions"}
        project.stage("baseline", 0, "--max-iter", iterations, **settings)
        peaks.append(json.loads(path.read_text())["peak_memory_bytes"])
    assert peaks[1] == 10**15
    assert 20e6 < peaks[0] < 1e9 and 20e6 < peaks[2] < 1e9


def test_provenance_is_the_statuses(page, project):
    status = project.status("baseline/stage0")
    (own,) = [
        each
        for each in page.locator("#provenance details").all()
        if each.locator("summary").inner_text().startswith("baseline, stage 0")
    ]
    own.locator("summary").click()
    terms = own.locator("dt").all_inner_texts()
    said = dict(zip(terms, own.locator("dd").all_inner_texts(), strict=True))
    assert said["command"] == "tools/run_stage.sh 0 --net tiny --variant swwae-all"
    assert said["seed"] == str(status["seed"])
    assert said["version of fork"] == status["versions"]["fork"]
    assert said["weights it left"].endswith(status["weights_out"]["sha256"])
    data = rows(page, "#provenance table")
    assert data[1][:2] == ["data/tiny/train_lmdb", "32"]
    assert data[2][:2] == ["data/tiny/test_lmdb", "12"]
