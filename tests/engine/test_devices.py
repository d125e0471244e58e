"""What Caffe computes on, by programs that answer as Caffe and nvidia-smi would."""

import pytest

from generator.errors import UserError
from swwae.engine import cards, devices
from swwae.engine.cards import Card
from tests.helpers.fake_gpu import (
    CARDS,
    write_caffe,
    write_nvidia_smi,
    write_program,
)

CPU_ONLY = "Cannot use GPU in CPU-only Caffe: check mode."
CHECK = "Check failed: error == cudaSuccess "
NO_CARD = f"{CHECK}(100 vs. 0)  no CUDA-capable device is detected"
OLD_DRIVER = (
    f"{CHECK}(35 vs. 0)  CUDA driver version is insufficient for CUDA runtime version"
)
MADE_FROM = (
    "0123 python 3.11.2 numpy 2.4.6 dnnl ON blas /usr/lib/libopenblas.so cuda"
    " /usr/local/cuda/bin/nvcc Build cuda_13.0.r13.0/compiler.36424714_0 {} /usr/lib "
)
H200 = Card(0, "NVIDIA H200", "9.0", 143156, "13.0", "13.0", "9.19.1", "fp32", False)


@pytest.fixture(autouse=True)
def no_cards(tmp_path, monkeypatch):
    """No nvidia-smi but a test's own, which is in this folder."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NO_GPU"):
        monkeypatch.delenv(name, raising=False)
    write_program(folder / "nvidia-smi", "exit 9\n")
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "none")
    return folder


@pytest.fixture
def installed(no_cards):
    rows = {
        "name,driver_version": "NVIDIA H200, 570.12\nNVIDIA H200, 570.12",
        "index,memory.free": "0, 1000 MiB\n1, 2000 MiB",
    }
    return write_nvidia_smi(no_cards, rows)


@pytest.fixture
def caffe(tmp_path):
    """A program with two GPUs, 0 and 3, or without any where NO_GPU is set."""
    return write_caffe(tmp_path / "build")


def refused(caffe, wanted="0"):
    with pytest.raises(UserError) as refusal:
        devices.choose(caffe, wanted)
    return str(refusal.value)


def test_the_environment_reaches_the_query_for_gpus(tmp_path, monkeypatch):
    program = write_program(
        tmp_path / "caffe",
        'echo "Device id: $CUDA_VISIBLE_DEVICES" >&2\n[ "$GLOG_logtostderr" = 1 ]\n',
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert devices.choose(program, None) == ([3], "GPU 3")


def test_the_first_gpu_is_taken_where_none_is_named(caffe, monkeypatch):
    first = "GPU 0 (NVIDIA H200); 2 found, --gpu chooses"
    assert devices.choose(caffe, None) == ([0], first)
    both = "GPU 0, 3 (NVIDIA H200, NVIDIA A100)"
    assert devices.choose(caffe, "all") == ([0, 3], both)
    assert devices.choose(caffe, "3") == ([3], "GPU 3 (NVIDIA A100)")


def test_a_card_that_is_not_named_is_passed_over_where_it_is_too_old(caffe):
    old = f"{CARDS[0].replace('9.0', '7.5')}\n{CARDS[3]}\n"
    (caffe.parent / "cards").write_text(old)
    (caffe.parents[1] / "made-from").write_text(MADE_FROM.format("80;90"))
    assert devices.choose(caffe, None) == ([3], "GPU 3 (NVIDIA A100)")
    (caffe.parents[1] / "made-from").write_text(MADE_FROM.format("90"))
    numbers, device = devices.choose(caffe, None)
    assert numbers == []
    assert device.startswith("CPU (GPU 0 (NVIDIA H200) has compute capability 7.5, and")


@pytest.mark.parametrize("reason", [CPU_ONLY, NO_CARD, OLD_DRIVER])
def test_the_cpu_where_there_is_no_card(caffe, monkeypatch, reason):
    monkeypatch.setenv("NO_GPU", reason)
    assert devices.choose(caffe, None) == ([], "CPU (no GPU found)")


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (
            CPU_ONLY,
            "this Caffe was built for the CPU alone, and there is a card, NVIDIA H200:"
            " fork/build.sh --cuda builds it for both",
        ),
        (
            OLD_DRIVER,
            "NVIDIA's driver 570.12 is older than the CUDA that this Caffe was built"
            " with: install a newer driver, or build with an older CUDA (fork/build.sh"
            " --cuda)",
        ),
        (NO_CARD, "there is a card, NVIDIA H200, but CUDA finds none"),
        (
            f"{CHECK}(802 vs. 0)  system not yet initialized",
            f"no GPU can be used (Caffe: {CHECK}(802 vs. 0)  system not yet"
            " initialized)",
        ),
    ],
)
def test_a_card_that_cannot_be_used_is_said(caffe, installed, monkeypatch, reason, why):
    monkeypatch.setenv("NO_GPU", reason)
    assert devices.choose(caffe, None) == ([], f"CPU ({why})")
    assert refused(caffe) == f"--gpu 0: {why}; leave --gpu out for the CPU."


def test_cards_that_the_environment_hides(caffe, installed, monkeypatch):
    monkeypatch.setenv("NO_GPU", NO_CARD)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.choose(caffe, None) == ([], "CPU (no GPU found)")
    assert "CUDA_VISIBLE_DEVICES is '' in the environment and hides" in refused(caffe)


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (CPU_ONLY, "this Caffe was built for the CPU alone"),
        (NO_CARD, "this machine has no NVIDIA GPU"),
        (OLD_DRIVER, "this machine has no NVIDIA driver, or no GPU"),
    ],
)
def test_a_gpu_of_a_machine_without_is_refused(caffe, monkeypatch, reason, why):
    monkeypatch.setenv("NO_GPU", reason)
    assert refused(caffe) == f"--gpu 0: {why}; leave --gpu out for the CPU."


def test_a_driver_without_nvidia_smi_is_old(caffe, monkeypatch, tmp_path):
    monkeypatch.setenv("NO_GPU", OLD_DRIVER)
    (tmp_path / "version").touch()
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "version")
    assert "NVIDIA's driver is older than the CUDA" in refused(caffe)


def test_a_wrong_number_names_those_that_there_are(caffe):
    assert refused(caffe, "0,7") == (
        "--gpu 0,7: there is no such GPU; there are 0 and 3."
    )
    assert refused(caffe, "0,0") == "--gpu 0,0 names a GPU twice."


def test_a_card_too_old_for_the_build_is_refused(caffe):
    (caffe.parents[1] / "made-from").write_text(MADE_FROM.format("90;100-real"))
    assert devices.choose(caffe, "0")[0] == [0]
    assert refused(caffe, "3") == (
        "--gpu 3: GPU 3 (NVIDIA A100) has compute capability 8.0, and this Caffe was"
        " built for 9.0 and 10.0: CUDA_ARCHITECTURES='80' fork/build.sh --cuda builds"
        " it for that."
    )


@pytest.mark.parametrize(
    ("built", "known"), [("80", [80]), ("120;90-virtual", [90, 120]), ("native", [])]
)
def test_what_a_build_was_compiled_for(caffe, built, known):
    assert devices.architectures(caffe) == []
    (caffe.parents[1] / "made-from").write_text(MADE_FROM.format(built))
    assert devices.architectures(caffe) == known


def test_caffes_last_words_are_explained(caffe, installed):
    (caffe.parents[1] / "made-from").write_text(MADE_FROM.format("100"))
    words = f"{CHECK}(209 vs. 0)  no kernel image is available for execution on the"
    old = "has compute capability 9.0, and this Caffe was built for 10.0"
    assert old in devices.explained(caffe, words, [H200])
    assert "the card is none that this Caffe was built for" in (
        devices.explained(caffe, words, [])
    )
    assert "driver 570.12 is older" in devices.explained(caffe, OLD_DRIVER, [])
    assert devices.explained(caffe, "Check failed: a == b", [H200]) is None
    assert devices.is_out_of_memory(f"{CHECK}(2 vs. 0)  out of memory")
    assert not devices.is_out_of_memory(OLD_DRIVER)


def test_the_drivers_version_is_its_own_words(no_cards, tmp_path, monkeypatch):
    assert devices.driver() is None
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "version")
    for kind in ("Kernel Module ", "Open Kernel Module for x86_64"):
        devices.DRIVER.write_text(
            f"NVRM version: NVIDIA UNIX x86_64 {kind} 580.159.04  Release Build\n"
            "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6)\n"
        )
        assert devices.driver() == "580.159.04"


def test_the_drivers_version_is_else_nvidia_smis(installed):
    assert devices.driver() == "570.12"


def test_free_memory_is_that_of_cudas_number(installed, monkeypatch):
    assert devices.free_memory(0) == 1000 << 20
    assert devices.free_memory(2) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert devices.free_memory(0) == 2000 << 20
    assert devices.free_memory(1) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-abcdef")
    assert devices.free_memory(0) is None


def test_cards_of_two_kinds_have_unknown_numbers(no_cards, monkeypatch):
    rows = {
        "name,driver_version": "NVIDIA H200, 570.12\nNVIDIA T400, 570.12",
        "index,memory.free": "0, 1000 MiB\n1, 2000 MiB",
    }
    write_nvidia_smi(no_cards, rows)
    assert devices.free_memory(0) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert devices.free_memory(0) is None
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert devices.free_memory(0) == 2000 << 20
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert devices.free_memory(1) == 2000 << 20


# --- what the fork says of a card


def test_a_cards_line_is_read():
    assert cards.parse_card(CARDS[0]) == H200
    assert cards.parse_card("GPU 12: Tesla K40c") == Card(12, "Tesla K40c")
    shorter = CARDS[0].partition(", cuDNN")[0]
    assert cards.parse_card(shorter) == Card(
        0, "NVIDIA H200", "9.0", 143156, "13.0", "13.0"
    )
    certain = CARDS[0].replace("deterministic no", "deterministic yes")
    assert cards.parse_card(certain).deterministic is True
    assert cards.parse_card("GPU 0 is busy") is None


def test_a_record_names_every_card_and_the_rest_once():
    other = cards.parse_card(CARDS[3])
    recorded = cards.record([H200, other], None)
    assert [card["name"] for card in recorded["cards"]] == [
        "NVIDIA H200",
        "NVIDIA A100",
    ]
    assert recorded["cards"][1]["memory_mb"] == 81051
    assert (recorded["driver"], recorded["cuda"], recorded["cudnn"]) == (
        "13.0",
        "13.0",
        "9.19.1",
    )
    assert (recorded["math"], recorded["deterministic"]) == ("fp32", False)
    assert cards.describe(recorded) == [
        ("GPU", "0: NVIDIA H200, 3: NVIDIA A100"),
        ("driver", "for CUDA 13.0"),
        ("CUDA", "13.0"),
        ("cuDNN", "9.19.1"),
        ("math", "fp32"),
        ("deterministic", "no"),
    ]


@pytest.mark.parametrize("recorded", [None, [], "x", {}, {"cards": 3}, {"cards": [1]}])
def test_what_is_no_record_has_no_rows(recorded):
    assert cards.describe(recorded) == []
