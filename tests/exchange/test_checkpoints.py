"""Where torch is installed: checkpoints as training programs leave them."""

import argparse
import sys
import warnings
from collections import OrderedDict

import numpy as np
import pytest

from generator.errors import UserError
from swwae.exchange.torch_files import read_state_dict

torch = pytest.importorskip("torch")


class Own(torch.nn.Module):
    """A class that only its author's program has."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)


@pytest.fixture
def weight():
    return torch.arange(6, dtype=torch.float32).reshape(2, 3)


def state(weight, prefix=""):
    return OrderedDict({f"{prefix}fc.weight": weight, f"{prefix}fc.bias": weight[:, 0]})


def optimizer(weight):
    """As of momentum, and one that names its parameters."""
    return {"state": {0: {"momentum": weight}, "fc": {"momentum": weight}}}


CHECKPOINTS = {
    "itself": lambda w: state(w),
    "state_dict": lambda w: {"epoch": 3, "best": w[0, 0], "state_dict": state(w)},
    "net": lambda w: {"net": state(w, "module."), "acc": 91.2, "epoch": 3},
    "another key": lambda w: {"student": state(w), "optimizer": optimizer(w)},
    "upper case": lambda w: {"Optimizer": optimizer(w), "weights_1": state(w)},
    "averaged, too": lambda w: {"model_ema": state(w + 1), "model": state(w)},
    "compiled": lambda w: {"model": state(w, "_orig_mod.module.")},
    "twice": lambda w: {"model": {"epoch": 1, "state_dict": state(w)}},
    "options": lambda w: {"model": state(w), "args": argparse.Namespace(lr=0.1)},
    "numpy": lambda w: {"net": state(w), "acc": np.float64(91.2)},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_state_dict_is_found_in_a_checkpoint(name, legacy, weight, tmp_path):
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(
        CHECKPOINTS[name](weight), path, _use_new_zipfile_serialization=not legacy
    )
    found = read_state_dict(path)
    assert list(found.shapes) == ["fc.weight", "fc.bias"]
    assert found.array("fc.weight").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_of_several_none_is_chosen(weight, tmp_path):
    torch.save({"G": state(weight), "D": state(weight)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"several state dicts, under G, D: .*\['G'\]"):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("module", "of"),
    [
        (lambda: Own(), "Own"),
        (lambda: torch.nn.Sequential(torch.nn.Linear(3, 2)), "container.Sequential"),
        (lambda: {"epoch": 3, "model": Own()}, "Own"),
    ],
)
def test_whole_modules_are_refused_with_a_reason(module, of, legacy, tmp_path):
    path = tmp_path / "x.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sources that torch cannot store
        torch.save(module(), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError) as caught:
        read_state_dict(path)
    said = str(caught.value)
    assert "holds a whole module" in said and f"{of})" in said
    assert "torch.save(model.state_dict(), FILE)" in said
    assert "weights_only" not in said and "\x1b" not in said


class Ran:
    """Whose pickle would end this process."""

    def __reduce__(self):
        return sys.exit, (3,)


def test_nothing_of_a_file_is_run(weight, tmp_path):
    torch.save({"model": state(weight), "extra": Ran()}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"other objects than tensors \(sys.exit\)"):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_other_protocols_of_pickle_are_told_of(legacy, weight, tmp_path, recwarn):
    """In our words alone: torch warns of them, and calls them damaged."""
    path = tmp_path / "x.pth"
    torch.save(
        state(weight),
        path,
        pickle_protocol=4,
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(UserError, match="a pickle of protocol 4; torch reads those of"):
        read_state_dict(path)
    assert not recwarn.list


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_cut_anywhere_it_is_our_sentence(legacy, weight, tmp_path):
    path = tmp_path / "x.pth"
    torch.save(state(weight), path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in range(8, len(whole) - 1, max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError) as caught:
            read_state_dict(path)
        assert "is not a whole" in str(caught.value) or "is no state dict" in str(
            caught.value
        )
        assert "torch.load" not in str(caught.value)
