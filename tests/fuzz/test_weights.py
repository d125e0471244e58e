"""Files of weights, snapshots and logs that are not what was written."""

import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from hypothesis import given, note
from safetensors.numpy import save

from generator.errors import UserError
from swwae.engine.log import read_lines
from swwae.exchange.torch_files import read_state_dict
from swwae.nets import weights
from swwae.stages import checksums, snapshots
from swwae.stages.status import log_results
from tests.helpers.fuzzing import SEEDS, counted, damaged, examples, rewritten
from tests.helpers.reported import PREFIX, log_lines

SHAPES = {"conv": [(4, 3, 3, 3), (4,)], "fc": [(10, 16), (10,)]}


def blobs(seed: int) -> dict[str, list[np.ndarray]]:
    chance = np.random.default_rng(seed)
    return {
        name: [chance.normal(size=shape).astype(np.float32) for shape in shapes]
        for name, shapes in SHAPES.items()
    }


def caffemodel(old: bool = False) -> bytes:
    network = caffe_pb2.NetParameter(name="net")
    for name, values in blobs(1).items():
        layer = (network.layers if old else network.layer).add(name=name)
        for array in values:
            blob = layer.blobs.add()
            blob.data.extend(array.ravel().tolist())
            if old:
                shape = (1,) * (4 - array.ndim) + array.shape
                blob.num, blob.channels, blob.height, blob.width = shape
            else:
                blob.shape.dim.extend(array.shape)
    return network.SerializeToString()


def solver_state() -> bytes:
    state = caffe_pb2.SolverState(iter=7, learned_net="x.caffemodel", current_step=0)
    for values in blobs(2).values():
        for array in values:
            state.history.append(weights.message(array))
    return state.SerializeToString()


def named() -> dict[str, np.ndarray]:
    return {
        f"{name}.{kind}": array
        for name, values in blobs(3).items()
        for kind, array in zip(("weight", "bias"), values, strict=True)
    }


def torch_file(zipped: bool) -> bytes:
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    tensors = {name: torch.from_numpy(values) for name, values in named().items()}
    whole = {"epoch": 3, "state_dict": tensors, "options": {"lr": 0.1}}
    torch.save(whole, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


CAFFE = (caffemodel(), caffemodel(old=True), checksums.added(caffemodel()))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "weights"


def attempt(read: Callable[[], None]) -> None:
    try:
        read()
    except UserError as error:
        assert str(error).strip()


@examples(100)
@given(SEEDS)
def test_caffemodels(path, seed):
    content = damaged(CAFFE, seed)
    note(content)
    path.write_bytes(content)

    def read() -> None:
        loaded = weights.load(path)
        comparison = weights.compare(SHAPES, loaded)
        weights.not_finite(loaded)
        weights.shapes(loaded)
        target = caffe_pb2.NetParameter()
        weights.copy_layers(loaded, target, comparison.unused)
        weights.save(target, path.with_name("out"))
        weights.require_all(SHAPES, loaded, path, "net", "net.prototxt")
        assert weights.shapes(loaded).keys() >= SHAPES.keys()

    with counted(".caffemodel"):
        attempt(read)


@examples(100)
@given(SEEDS)
def test_safetensors(path, seed):
    path.write_bytes(damaged([save(named())], seed))
    with counted(".safetensors"):
        attempt(lambda: every_tensor(path))


@examples(30)
@given(seed=SEEDS)
def test_files_of_torch(path, torch_files, seed):
    path.write_bytes(damaged(torch_files, seed))
    with counted(".pth"):
        attempt(lambda: every_tensor(path))


@pytest.fixture(scope="module")
def torch_files() -> list[bytes]:
    return [torch_file(True), torch_file(False)]


def every_tensor(path: Path) -> None:
    state = read_state_dict(path)
    for name in state.shapes:
        assert state.array(name).shape == state.shapes[name]


@examples(30)
@given(SEEDS)
def test_snapshots(path, seed):
    folder = path.parent / "run"
    folder.mkdir(exist_ok=True)
    chance = random.Random(seed)
    for iteration in (3, 7):
        for file, content in (
            (snapshots.weights_file(folder, iteration), caffemodel()),
            (snapshots.solver_state(folder, iteration), solver_state()),
        ):
            if chance.random() < 0.7:
                content = checksums.added(content)
            if chance.random() < 0.5:
                content = damaged([content], seed)
                if chance.random() < 0.3:
                    content = checksums.added(content)
            file.write_bytes(content)
    with counted("snapshots"):
        try:
            found, _ = snapshots.newest_whole(folder, SHAPES)
            if found is not None:
                snapshots.settle(folder, found)
        except snapshots.Foreign as error:
            assert str(error)


LOG = "".join(log_lines(iteration, 2.5) for iteration in range(0, 100, 20))
LOG += (
    "==== 2026-11-24T06:20:42+00:00 caffe train\n"
    f"{PREFIX}Iteration 40, Testing net (#0)\n"
    f"{PREFIX}    Test net output #0: accuracy = 0.25\n"
    f"{PREFIX}Wrote the whole of runs/x/snapshot_iter_40.caffemodel\n"
    f"{PREFIX}GPU 0: NVIDIA H200, compute capability 9.0, 143771 MB, math fp32\n"
)


@examples(50)
@given(SEEDS)
def test_logs(path, seed):
    path.write_text(rewritten([LOG], seed), errors="surrogatepass")
    with counted("train.log"):
        log_results(path)
        read_lines(
            damaged([LOG.encode()], seed).decode("utf-8", "replace").splitlines()
        )
