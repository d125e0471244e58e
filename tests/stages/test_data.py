"""Data that are damaged, or another network's, in front of a stage."""

import os
import subprocess
from time import monotonic, sleep

import numpy as np
import pytest

from tests.helpers.datum_lmdb import PAGE, image, kinds, overwrite, write
from tests.helpers.fashion_mnist import SCRIPT, write_idx
from tests.helpers.tiny_project import EPOCH, Project

LEAF = 2


def refused(project: Project, *words: str) -> None:
    """By stage 0, in one sentence, before anything runs."""
    said = project.run(0, code=2)
    assert said.startswith("run_stage.sh: ") and said.count("\n") == 1
    for word in words:
        assert word in said
    assert not (project.folder("baseline", 0) / "status.json").exists()


@pytest.mark.parametrize("name", ["train_lmdb", "test_lmdb"])
def test_what_is_refused_before_a_stage(project, name):
    folder = project.root / "data" / "tiny" / name
    whole = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").write_bytes(whole[:-PAGE])
    refused(project, f"data/tiny/{name}, which models/tiny/", "lacks its end")
    (folder / "data.mdb").write_bytes(whole)
    overwrite(folder, kinds(folder).index(LEAF), bytes(PAGE))
    refused(project, f"data/tiny/{name}, which", "is damaged: page")
    (folder / "data.mdb").unlink()
    write(folder, [])
    refused(project, f"data/tiny/{name}, which", "is empty")
    (folder / "data.mdb").unlink()
    write(folder, [image(label, 8) for label in (1, 2)])  # counted from 1
    refused(project, f"data/tiny/{name} has the labels 1 to 2", "2 outputs", "from 0")


def test_images_of_another_kind(project):
    """In the test images alone: Caffe would train, and end at the first test."""
    folder = project.root / "data" / "tiny" / "test_lmdb"
    colour = image(1, 8, channels=3, data=bytes(192))
    for record, words in (
        (
            colour,
            "test_lmdb holds images in colour, and models/tiny/baseline/train_val",
        ),
        (image(1, 6), "test_lmdb gives images of 1x6x6 (channels x height x width)"),
    ):
        (folder / "data.mdb").unlink()
        write(folder, [record])
        refused(project, words, "make it again in")


def test_a_page_that_rots_later(project):
    """It was whole when it was looked at, and its file's time has stayed."""
    project.run(0, "--max-iter", EPOCH)
    rot(project)
    said = project.run(0, "--force", code=2)
    assert "data/tiny/train_lmdb, which models/tiny/" in said
    assert "is damaged: page" in said and said.count("\n") == 1


def rot(project: Project) -> None:
    """Writes over a leaf of the training images."""
    folder = project.root / "data" / "tiny" / "train_lmdb"
    times = os.stat(folder / "data.mdb")
    overwrite(folder, kinds(folder).index(LEAF), b"\xff" * (PAGE - 16), 16)
    os.utime(folder / "data.mdb", ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_page_that_rots_while_it_trains(project):
    """The run ends with what is wrong with the data, and that is recorded."""
    project.write_solver("baseline", 0, max_iter=10**6, display=1000)
    process = project.start(0)
    log = project.folder("baseline", 0) / "train.log"
    wait_until(lambda: log.exists() and "Iteration 1000" in log.read_text())
    rot(project)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "data/tiny/train_lmdb, which models/tiny/" in said
    assert "is damaged: page" in said.splitlines()[-1]
    assert "is damaged: page" in project.status("baseline", 0)["fault"]


def wait_until(condition, seconds: float = 30) -> None:
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end
        sleep(0.02)


def test_from_create_to_the_stage(tmp_path):
    """EMNIST's letters count from 1 to 26."""
    labels = np.arange(1, 27, dtype=np.uint8)
    images = np.zeros((26, 28, 28), np.uint8)
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / "idx", prefix, images, labels)
    out = tmp_path / "letters"
    python = SCRIPT.parents[2] / ".venv" / "bin" / "python"
    said = run([SCRIPT, "--source", tmp_path / "idx", "--out", out])
    assert said.count("26 classes, labels 1 to 26 (a network needs 27 outputs") == 2
    generate = [python, "-m", "generator", "vgg8", "--name", "letters", "--data", out]
    generate += ["--out", tmp_path / "made", "--variant", "baseline"]
    said = run(generate, code=2)
    assert f"{out}/train_lmdb has the labels 1 to 26, and 'loss' of letters" in said
    assert "10 outputs, for the labels 0 to 9" in said and "num_output: 27" in said
    assert not (tmp_path / "made").exists()
    for info in out.glob("*/info.json"):
        info.unlink()  # as databases of other makers
    assert run(generate, code=2) == said


def run(command, code=0) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=SCRIPT.parents[2]
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("found", "written", "words"),
    [
        (
            " backend: LMDB",
            "",
            "is no LEVELDB: write backend: LMDB in its data_param.",
        ),
        (
            "train_lmdb",
            "train_lmdb/data.mdb",
            "its folder, data/tiny/train_lmdb.",
        ),
        ("data/tiny/train", "here/train", "; write {cwd}/here/train_lmdb."),
    ],
)
def test_databases_as_people_name_them(project, found, written, words):
    network = project.root / "models/tiny/baseline/train_val.prototxt"
    network.write_text(network.read_text().replace(found, written))
    cwd = project.root.parent  # where commands are started
    (cwd / "here").mkdir()
    write(cwd / "here" / "train_lmdb", [image(0, 8)])
    refused(project, words.format(cwd=cwd))
