"""Where torch is installed: torchvision's own networks answer the same."""

import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from generator.errors import UserError
from swwae.exchange.exporting import state_dict
from swwae.exchange.torch_files import read_state_dict
from swwae.nets.deployed import deployed
from swwae.nets.normalisation import TORCHVISION
from tests.helpers import small
from tests.helpers.torch_side import imported


@pytest.fixture(scope="module")
def torchvision():
    """torchvision's models. Beside a torch without CUDA its compiled operators are not
    found; the classifiers use none of them, but its import names two."""
    torch = pytest.importorskip("torch")
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed: pip install -e '.[torch]'")
    try:
        import torchvision
    except RuntimeError:
        for name in [n for n in sys.modules if n.startswith("torchvision")]:
            del sys.modules[name]
        operators = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor boxes, Tensor scores, float t) -> Tensor")
        import torchvision

        torchvision.operators = operators  # they last as long as it does
    return torchvision


def he(model, torch):
    """Random weights that keep activations sane (He et al. 2015)."""
    chosen = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            deviation = (2 / module.weight[0].numel()) ** 0.5
            module.weight.data.normal_(0, deviation, generator=chosen)
            module.bias.data.normal_(0, 0.1, generator=chosen)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=chosen)
            module.bias.data.normal_(0, 0.1, generator=chosen)
            module.running_mean.normal_(0, 0.3, generator=chosen)
            module.running_var.uniform_(0.5, 2, generator=chosen)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "net", "file"),
    [
        ("alexnet", "alexnet_owt", "weights.pth"),
        ("vgg16", "vgg16", "weights.safetensors"),
        ("vgg16_bn", "vgg16_bn", "weights.pt"),
    ],
)
def test_torchvisions_networks_answer_the_same(name, net, file, torchvision, tmp_path):
    """At their real size, on the same photographs: scores and probabilities; and the
    state dict that comes back out is the one that went in."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    more = {} if name == "alexnet" else {"init_weights": False}
    model = he(getattr(torchvision.models, name)(**more), torch)
    path = tmp_path / file
    if path.suffix == ".safetensors":
        save_torch(model.state_dict(), path)
    else:  # as distributed training leaves it
        nested = {f"module.{key}": value for key, value in model.state_dict().items()}
        torch.save({"epoch": 3, "state_dict": nested}, path)
    target = deployed(net, "baseline")
    if net == "vgg16":  # as `--mean-value` makes it
        other = deployed("vgg16_bn", "baseline")
        target = replace(target, transformation=other.transformation)
    built, folded = imported(target, path, tmp_path)
    assert folded.border == 0
    images = small.photographs(224, 224, 3)
    mean, std = (
        np.float32(v).reshape(1, 3, 1, 1) for v in (TORCHVISION.mean, TORCHVISION.std)
    )
    with torch.no_grad():
        expected = model(torch.from_numpy((images - mean) / std))
        probabilities = expected.softmax(dim=1).numpy()
    found = small.answer(built, small.mean_subtracted(target, images))
    small.assert_close(found["fc8"], expected.numpy())
    small.assert_close(found["prob"], probabilities)

    blobs = {n: [blob.data for blob in own] for n, own in built.params.items()}
    again, _ = state_dict(target, blobs, "encoder", TORCHVISION)
    before = model.state_dict()
    assert set(again) == set(before)
    for key, values in again.items():
        given = before[key].numpy()
        assert values.dtype == given.dtype and values.shape == given.shape
        assert np.abs(values - given).max() <= 1e-6 * np.abs(given).max()


def test_nonsense_in_a_pth_is_a_sentence(torchvision, tmp_path):
    torch = pytest.importorskip("torch")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    torch.save({0: torch.ones(1)}, tmp_path / "numbered.pth")
    torch.save({"w": torch.ones(1).to_sparse()}, tmp_path / "sparse.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04cut")
    (tmp_path / "stack.pth").write_bytes(b"\x80\x02.")
    for name, words in {
        "list": "holds no state dict",
        "epoch": "holds no state dict",
        "numbered": "holds no state dict",
        "sparse": "w in .* is no plain tensor",
        "cut": "is not a whole file of torch",
        "stack": "is not a whole state dict of torch",
    }.items():
        with pytest.raises(UserError, match=words):
            read_state_dict(tmp_path / f"{name}.pth")
