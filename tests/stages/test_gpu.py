"""run_stage.sh --gpu, with a program that says what Caffe would on two cards, and
computes on the CPU."""

import json
import os

import pytest
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.engine import devices
from swwae.nets import building, memory
from swwae.stages.train import chosen_math
from tests.helpers.fake_gpu import write_build, write_nvidia_smi
from tests.helpers.stage_files import parameters
from tests.helpers.tiny_project import BATCH, DEPTH, EPOCH, DeepProject, Project

OUT_OF_MEMORY = "Check failed: error == cudaSuccess (2 vs. 0)  out of memory"


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """A build with the GPUs 0 and 3, as the environment names it."""
    for name in ("CAFFE_GPU_MATH", "CUDA_VISIBLE_DEVICES", "NO_GPU", "TRAIN_FAILS"):
        monkeypatch.delenv(name, raising=False)
    build = write_build(tmp_path / "build")
    monkeypatch.setenv("CAFFE_BUILD", str(build))
    return build


def set_iter_size(project: Project, value: int) -> None:
    solver = project.root / "solvers" / "tiny" / "baseline" / "stage0.prototxt"
    solver.write_text(f"{solver.read_text()}iter_size: {value}\n")


def test_what_a_gpu_computes_with_is_recorded_and_said(
    project, gpus, tmp_path, monkeypatch
):
    if not devices.DRIVER.exists():
        rows = {"name,driver_version": "NVIDIA H200, 580.159.04"}
        folder = write_nvidia_smi(tmp_path / "smi", rows)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    said = project.run(0, "--gpu", "0", "--math", "tf32")
    assert "device   GPU 0 (NVIDIA H200)\n" in said
    assert "math     tf32\n" in said
    status = project.status("baseline", 0)
    assert status["device"] == "GPU 0 (NVIDIA H200)"
    assert status["gpu"] == {
        "cards": [
            {
                "number": 0,
                "name": "NVIDIA H200",
                "compute_capability": "9.0",
                "memory_mb": 143156,
            }
        ],
        "driver_version": devices.driver(),
        "driver": "13.0",
        "cuda": "13.0",
        "cudnn": "9.19.1",
        "math": "tf32",
        "deterministic": False,
    }
    assert "--gpu=0" in status["caffe_command"]
    solver = (project.folder("baseline", 0) / "solver.prototxt").read_text()
    assert "solver_mode: GPU" in solver
    stands = project.run(0, "--status")
    driver = f"{devices.driver()} (for CUDA 13.0)"
    for words in ("0: NVIDIA H200", driver, "9.19.1", "tf32", "finished"):
        assert words in stands


def test_the_cpu_has_no_record_of_a_gpu(project, gpus, monkeypatch):
    monkeypatch.setenv("NO_GPU", "Cannot use GPU in CPU-only Caffe: check mode.")
    said = project.run(0)
    assert "CPU (" in said and "math" not in said
    assert "gpu" not in project.status("baseline", 0)
    assert "cuDNN" not in project.run(0, "--status")
    assert "has not been started" in project.run(4, "--variant", "baseline", "--status")


def test_images_are_counted_over_cards_and_iter_size(project, gpus):
    set_iter_size(project, 2)
    said = project.run(0, "--gpu", "all", "--max-iter", EPOCH)
    images = f"of {BATCH * 4} images ({BATCH} x iter_size 2 x 2 GPUs)"
    assert images in said
    assert "GPU 0, 3 (NVIDIA H200, NVIDIA A100)" in said
    status = project.status("baseline", 0)
    assert [card["number"] for card in status["gpu"]["cards"]] == [0, 3]
    assert "--gpu=0,3" in status["caffe_command"]


@pytest.fixture
def deep(tmp_path):
    """Made before `gpus`, by the generator, which needs a real build."""
    return DeepProject(tmp_path / "deep")


def test_macro_layers_take_the_cards_in_turn(deep, gpus):
    deep.run(0, "--max-iter", 4)
    deep.run(1)
    said = deep.run(2, "--parallel", "--gpu", "0,3", "--max-iter", 2)
    assert f"{DEPTH}, 2 at a time" in said
    on = set()
    for number in range(1, DEPTH + 1):
        status = json.loads((deep.part(number) / "status.json").read_text())
        (card,) = status["gpu"]["cards"]
        on.add(card["number"])
    assert on == {0, 3}
    status = deep.status("swwae-layerwise", 2)
    assert status["device"] == "one of GPU 0, 3 (NVIDIA H200, NVIDIA A100)"
    assert [card["number"] for card in status["gpu"]["cards"]] == [0, 3]


def test_a_stage_goes_on_from_cpu_to_gpu_and_back(project, gpus, monkeypatch):
    """Its end is bit for bit that of a run in one piece."""
    project.run(0, "--gpu", "0")
    whole = parameters(project.folder("baseline", 0) / "final.caffemodel")
    no_gpu = "Cannot use GPU in CPU-only Caffe: check mode."
    monkeypatch.setenv("NO_GPU", no_gpu)
    project.run(0, "--max-iter", EPOCH, "--force")
    monkeypatch.delenv("NO_GPU")
    said = project.run(0, "--gpu", "3", "--max-iter", 2 * EPOCH)
    assert f"snapshot of iteration {EPOCH}" in said
    assert project.status("baseline", 0)["gpu"]["cards"][0]["number"] == 3
    monkeypatch.setenv("NO_GPU", no_gpu)
    said = project.run(0)
    assert f"snapshot of iteration {2 * EPOCH}" in said
    status = project.status("baseline", 0)
    assert status["resumed_from"] == [EPOCH, 2 * EPOCH] and "gpu" not in status
    first, second = status["earlier_sessions"]
    assert first["iterations"] == [0, EPOCH] and first["device"].startswith("CPU (")
    assert "gpu" not in first and second["iterations"] == [EPOCH, 2 * EPOCH]
    assert second["gpu"]["cards"][0]["name"] == "NVIDIA A100"
    assert f"GPU 3 (NVIDIA A100), fp32, to iteration {2 * EPOCH}" in project.run(
        0, "--status"
    )
    resumed = parameters(project.folder("baseline", 0) / "final.caffemodel")
    for name, blobs in whole.items():
        for one, other in zip(blobs, resumed[name], strict=True):
            assert (one == other).all()


def test_a_stage_that_is_only_ended_keeps_its_device(project, gpus, monkeypatch):
    """As where writing the final weights was interrupted."""
    project.run(0, "--gpu", "3", "--max-iter", EPOCH)
    folder = project.folder("baseline", 0)
    before = project.status("baseline", 0)
    (folder / "final.caffemodel").unlink()
    (folder / "status.json").write_text(json.dumps(before | {"state": "interrupted"}))
    project.run(0, "--gpu", "0", "--max-iter", EPOCH)
    status = project.status("baseline", 0)
    assert status["state"] == "finished" and status["earlier_sessions"] == []
    assert status["gpu"] == before["gpu"] and status["device"] == before["device"]


# --- what goes wrong


def test_a_card_that_is_not_there_is_refused(project, gpus):
    said = project.run(0, "--gpu", "1", code=2)
    assert said == "run_stage.sh: --gpu 1: there is no such GPU; there are 0 and 3.\n"


def test_a_card_without_enough_memory_names_a_batch_that_fits(
    project, gpus, monkeypatch
):
    monkeypatch.setenv("TRAIN_FAILS", OUT_OF_MEMORY)
    said = project.run(0, "--gpu", "0", code=1)
    sentence = said.splitlines()[-1]
    assert "GPU 0 (NVIDIA H200) has 143,156 MB" in sentence
    assert f"a batch of {BATCH} takes about " in sentence
    assert "(an estimate), so something else may hold memory there." in sentence
    assert f"write batch_size: {BATCH // 2} into the training data layer of" in sentence
    assert "models/tiny/baseline/train_val.prototxt and iter_size: 2 into" in sentence
    assert "solvers/tiny/baseline/stage0.prototxt, and start over with" in sentence
    assert "tools/run_stage.sh 0 --net tiny --gpu 0 --force (The log is" in sentence
    status = project.status("baseline", 0)
    assert status["state"] == "failed" and "ran out of memory" in status["fault"]


def test_what_a_smaller_batch_costs_is_said(project, gpus, monkeypatch):
    monkeypatch.setenv("NO_GPU", "Cannot use GPU in CPU-only Caffe: check mode.")
    project.run(0, "--max-iter", EPOCH)
    monkeypatch.delenv("NO_GPU")
    monkeypatch.setenv("TRAIN_FAILS", OUT_OF_MEMORY)
    said = project.run(0, "--gpu", "0", code=1)
    lost = f"--force, which removes what is trained so far, {EPOCH} iterations (The"
    assert lost in said


def test_a_card_on_which_no_batch_fits(project, gpus, monkeypatch):
    monkeypatch.setenv("TRAIN_FAILS", "The card has no memory left for the 9 MB of it")
    cards = gpus / "bin" / "cards"
    cards.write_text(cards.read_text().replace("143156 MB", "1000 MB"))
    said = project.run(0, "--gpu", "0", code=1)
    assert "has 1,000 MB, and a batch of 8 takes about 1,6" in said
    assert "No smaller batch fits either" in said


def test_a_card_too_old_is_said_when_it_is_found_out(project, gpus, monkeypatch):
    monkeypatch.setenv("TRAIN_FAILS", "(209 vs. 0)  no kernel image is available")
    said = project.run(0, "--gpu", "0", code=1)
    assert "GPU 0 (NVIDIA H200) is none that this Caffe was built for:" in said
    assert "CUDA_ARCHITECTURES='90' fork/build.sh --cuda builds it for that" in said


def net_of(math: str | None) -> caffe_pb2.NetParameter:
    """A network that says what it is computed with."""
    return caffe_pb2.NetParameter(gpu_math=math)


@pytest.mark.parametrize(
    ("asked", "given", "own", "math"),
    [
        (None, None, None, "fp32"),
        ("tf32", None, None, "tf32"),
        (None, "tf32", "FP32", "tf32"),
        ("fp32", "fp32", None, "fp32"),
        (None, None, "TF32", "tf32"),
        (None, "fp32", "TF32", "fp32"),
        ("fp32", None, "TF32", "fp32"),
    ],
)
def test_the_math_is_the_commands_or_the_environments_or_the_networks(
    monkeypatch, asked, given, own, math
):
    monkeypatch.setenv("CAFFE_GPU_MATH", given or "")
    assert chosen_math(asked, net_of(own)) == math


def test_a_network_that_says_tf32_gets_it(project, gpus):
    path = project.root / "models" / "tiny" / "baseline" / "train_val.prototxt"
    path.write_text(f"gpu_math: TF32\n{path.read_text()}")
    said = project.run(0, "--gpu", "0", "--max-iter", EPOCH)
    assert "math     tf32\n" in said
    assert project.status("baseline", 0)["gpu"]["math"] == "tf32"


def test_the_cpu_has_no_tf32(project, gpus, monkeypatch):
    monkeypatch.setenv("NO_GPU", "Cannot use GPU in CPU-only Caffe: check mode.")
    said = project.run(0, "--math", "tf32", code=2)
    assert "--math tf32: this would train on the CPU (" in said
    assert said.endswith("computes in fp32 alone; leave --math out.\n")
    project.run(0, "--math", "fp32", "--max-iter", EPOCH)


def test_an_environment_that_caffe_refuses_is_said_before_it_is_asked(
    project, gpus, monkeypatch
):
    monkeypatch.setenv("CAFFE_GPU_MATH", "bf16")
    said = project.run(0, "--gpu", "0", code=2)
    wrong = "CAFFE_GPU_MATH is bf16 in the environment; it is one of fp32 and tf32."
    assert said == f"run_stage.sh: {wrong}\n"
    path = project.root / "models" / "tiny" / "baseline" / "train_val.prototxt"
    with pytest.raises(UserError, match=wrong):
        building.parameter_shapes(path)


@pytest.mark.parametrize(
    ("asked", "given", "words"),
    [
        ("tf32", "fp32", "--math tf32: CAFFE_GPU_MATH is fp32"),
        (None, "bf16", "CAFFE_GPU_MATH is bf16 in the environment; it is one of fp32"),
    ],
)
def test_a_math_that_is_not_to_be_had(monkeypatch, asked, given, words):
    monkeypatch.setenv("CAFFE_GPU_MATH", given)
    with pytest.raises(UserError, match=words):
        chosen_math(asked, net_of(None))


# --- the estimate


@pytest.mark.parametrize("sharing", ["0", None])
def test_the_estimate_counts_values_and_their_gradients(project, monkeypatch, sharing):
    """Of grey 8x8 images: conv1 of 4 planes, pooled to 4x4; fc2 of 2 values, whose
    gradient is no longer needed when conv1's is made."""
    monkeypatch.setattr(memory, "ROOT", project.root)
    monkeypatch.delenv("CAFFE_SHARE_GRADIENTS", raising=False)
    if sharing:
        monkeypatch.setenv("CAFFE_SHARE_GRADIENTS", sharing)
    shared = 0 if sharing else 2
    plane = 8 * 8
    path = project.root / "models" / "tiny" / "baseline" / "train_val.prototxt"
    found = memory.values(path, BATCH)
    assert found.parameters == 4 * 9 + 4 + 2 * plane + 2
    encoder = 4 * plane + plane + 2
    assert found.image == pytest.approx(plane + 1 + 2 * encoder - shared + 2 / BATCH)
    fixed = memory.CONTEXT + memory.workspace()
    held = 4 * (3 * found.parameters + found.image * 16 + found.test)
    assert found.bytes(16) == fixed + int(held)


def test_a_fixed_encoder_has_no_gradients(project, monkeypatch):
    """Of the decoder's network, only what the decoder makes has."""
    monkeypatch.setattr(memory, "ROOT", project.root)
    plane = 8 * 8
    folder = project.root / "models" / "tiny" / "swwae-all"
    found = memory.values(folder / "decoder.prototxt", BATCH)
    encoder = plane + 4 * plane + plane
    assert found.image == pytest.approx(encoder + 2 * plane + 2 / BATCH)


def test_gradients_that_are_not_alive_together_share_memory():
    """Backwards through five layers: d takes 8, c 5; b takes d's 8; a, c's, grown."""
    lifetimes = {"a": (0, 1), "b": (1, 2), "c": (2, 3), "d": (3, 4)}
    counts = {"a": 7, "b": 6, "c": 5, "d": 8}
    assert memory._shared(lifetimes, counts) == 8 + 7
    together = dict.fromkeys(lifetimes, (0, 4))
    assert memory._shared(together, counts) == 26
    assert memory._shared({}, {}) == 0


def test_batches_that_are_as_many_images_in_all():
    assert list(memory.smaller_batches(16, 4)) == [(8, 8), (4, 16), (2, 32), (1, 64)]
    assert list(memory.smaller_batches(6, 1)) == [(3, 2), (2, 3), (1, 6)]
    assert list(memory.smaller_batches(1, 4)) == []


def test_the_limit_of_a_workspace_is_the_environments(monkeypatch):
    monkeypatch.setenv("CAFFE_CUDNN_WORKSPACE_MB", "16")
    assert memory.workspace() == 16 << 20
    monkeypatch.setenv("CAFFE_CUDNN_WORKSPACE_MB", "")
    assert memory.workspace() == 1024 << 20
