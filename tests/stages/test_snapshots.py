"""Snapshots that are whole, damaged, unfinished, or more than are kept."""

import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from swwae.base.project import ROOT
from swwae.stages import checksums, snapshots
from tests.helpers import killed
from tests.helpers.tiny_project import Project

LAST, BEFORE = killed.ITERATIONS, killed.ITERATIONS - 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vgg8's stage 0, with a snapshot of the last two iterations."""
    folder = tmp_path_factory.mktemp("snapshots")
    killed.write_network(killed.networks("baseline")["train_val"], folder)
    killed.write_solver(folder, random_seed=7)
    killed.train(folder, "DNNL")
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_caffe_writes_the_checksum_that_is_read_here(folder):
    for path in killed.left(folder):
        file = folder / "run" / path
        content = file.read_bytes()
        assert checksums.check(file) is True
        assert checksums.added(checksums.removed(content)) == content
        file.write_bytes(checksums.removed(content))
        assert checksums.check(file) is None
    assert not list((folder / "run").glob("*.part"))
    assert snapshots.newest_whole(folder / "run", {}) == (LAST, [])  # stock Caffe's


def test_the_newest_is_of_the_last_iteration_whatever_the_clock_was(folder):
    for path in (folder / "run").glob(f"*_iter_{LAST}.*"):
        os.utime(path, (0, 0))
    for path in (folder / "run").glob(f"*_iter_{BEFORE}.*"):
        os.utime(path, (2**33, 2**33))
    assert snapshots.newest_whole(folder / "run", {}) == (LAST, [])
    snapshots.prune(folder / "run", keep=1)
    assert snapshots.iterations(folder / "run") == [LAST]


def flip(path: Path) -> None:
    """Changes one bit, in a number: it stays finite."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Removes layers, or what stands behind the momentum: all that is left is whole."""
    content = checksums.removed(path.read_bytes())
    if path.suffix == snapshots.WEIGHTS:
        network = caffe_pb2.NetParameter.FromString(content)
        del network.layer[-3:]
        path.write_bytes(network.SerializeToString())
    else:
        path.write_bytes(content)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("file", [snapshots.solver_state, snapshots.weights_file])
@pytest.mark.parametrize("damage", [flip, cut, shorten, Path.unlink])
def test_a_damaged_one_is_named_and_the_one_before_taken(
    folder: Path, file: Callable[[Path, int], Path], damage: Callable[[Path], None]
):
    path = file(folder / "run", LAST)
    damage(path)
    found, skipped = snapshots.newest_whole(folder / "run", {})
    assert found == BEFORE
    (sentence,) = skipped
    assert sentence.startswith(f"snapshot {LAST} is skipped: {path.name} is ")


def test_going_on_from_the_one_before_ends_alike(folder):
    expected = killed.left(folder)
    flip(snapshots.weights_file(folder / "run", LAST))
    start = snapshots.solver_state(folder / "run", killed.newest(folder))
    assert killed.start(folder, "DNNL", start).wait(timeout=60) == 0
    assert killed.left(folder) == expected


def test_a_snapshot_elsewhere_keeps_its_checksum(folder):
    snapshots.settle(folder / "run", LAST)
    path = snapshots.solver_state(folder / "run", LAST)
    assert checksums.check(path) is True
    state = caffe_pb2.SolverState.FromString(path.read_bytes())
    assert Path(state.learned_net) == snapshots.weights_file(folder / "run", LAST)


def test_what_is_complete_is_counted_and_the_rest_stays(tmp_path):
    """Weights whose solver's state is still being written count for nothing."""
    for iteration in (2, 4, 6, 8):
        snapshots.weights_file(tmp_path, iteration).touch()
        if iteration < 8:
            snapshots.solver_state(tmp_path, iteration).touch()
    unfinished = tmp_path / "snapshot_iter_8.solverstate.part"
    unfinished.touch()
    snapshots.prune(tmp_path, keep=1)
    assert snapshots.iterations(tmp_path) == [8, 6]
    assert unfinished.exists()
    snapshots.remove_unfinished(tmp_path)
    assert not unfinished.exists()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("keep", [1, 3])
def test_so_many_are_kept_and_nothing_unfinished_stays(tmp_path, keep):
    project = Project(tmp_path / "project")
    project.write_solver("baseline", 0, max_iter=10**6, snapshot=7, display=100)
    folder = project.folder("baseline", 0)
    process = project.start(0, "--keep", keep)
    while max(snapshots.iterations(folder), default=0) < 7 * (keep + 2):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    left = snapshots.iterations(folder)
    assert len(left) == keep
    unfinished = folder / f"snapshot_iter_{left[0]}.caffemodel.part"
    unfinished.touch()
    said = project.run(0, "--keep", keep, "--max-iter", left[0] + 1)
    assert f"snapshot of iteration {left[0]}" in said
    assert not unfinished.exists()


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], type]:
    """Returns the classes of the messages of upstream's caffe.proto, by their names."""
    archives = list((ROOT / "build/downloads").glob("caffe_*.orig.tar.gz"))
    if not archives:
        pytest.skip("this Caffe was built elsewhere, and upstream's source is not here")
    folder = tmp_path_factory.mktemp("stock")
    with tarfile.open(archives[0]) as archive:
        [name] = [name for name in archive.getnames() if name.endswith("/caffe.proto")]
        (folder / "caffe.proto").write_bytes(archive.extractfile(name).read())
    compile_it = ["protoc", f"-I{folder}", f"-o{folder}/compiled", "caffe.proto"]
    subprocess.run(compile_it, check=True, capture_output=True)
    compiled = descriptor_pb2.FileDescriptorSet.FromString(
        (folder / "compiled").read_bytes()
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(compiled.file[0])
    return lambda name: message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"caffe.{name}")
    )


def test_stock_caffe_reads_them(trained, stock):
    run = trained / "run"
    weights = snapshots.weights_file(run, LAST)
    state = snapshots.solver_state(run, LAST)

    def read(file: Path, message: type) -> object:
        return message.FromString(file.read_bytes())  # the checksum included

    theirs = read(state, stock("SolverState"))
    ours = read(state, caffe_pb2.SolverState)
    assert (theirs.iter, Path(theirs.learned_net).name) == (LAST, weights.name)
    assert len(theirs.history) > 10
    assert blobs(theirs.history) == blobs(ours.history)
    theirs, ours = (
        [(layer.name, layer.type, blobs(layer.blobs)) for layer in network.layer]
        for network in (
            read(weights, stock("NetParameter")),
            read(weights, caffe_pb2.NetParameter),
        )
    )
    assert theirs == ours
    assert sum(len(arrays) for _, _, arrays in theirs) > 10


def blobs(messages: Iterable) -> list[bytes]:
    return [message.SerializeToString() for message in messages]
