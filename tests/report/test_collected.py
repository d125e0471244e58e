"""Which stages a report has of the runs it is given."""

from datetime import UTC, datetime, timedelta

import pytest

from generator.errors import UserError
from swwae.engine.log import SEPARATOR
from swwae.report.stages import collect
from swwae.runs.run import Run
from tests.helpers.reported import log_lines, write


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
