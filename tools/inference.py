"""A trained network, ready to classify and to reconstruct."""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import caffe
import numpy as np
import weights
from generator.files import render
from generator.layers import shape_text
from generator.networks import find_network
from generator.stages import folder, plan
from generator.variants import find_variant
from images import Database, database
from runs import Run, check_depth, relative
from runtime import ROOT, UserError


@dataclass(frozen=True)
class Output:
    """Of a batch of N images.

    probabilities: (N, classes).
    reconstructions: (N, C, H, W), mean-subtracted, in units of [0, 1]; None where the
        network has no decoder.
    """

    probabilities: np.ndarray
    reconstructions: np.ndarray | None


class Model:
    """A network's deploy.prototxt with weights, decoding from a chosen depth."""

    def __init__(
        self,
        net: str,
        variant: str,
        depth: int | None = None,
        weights_file: Path | None = None,
    ):
        """weights_file: None for what the variant's stage 4 left.

        Raises UserError: unknown names, a depth out of range, weights that are
        missing, unreadable, or lack a layer or fit another network.
        """
        network, self.variant = find_network(net), find_variant(variant)
        self.depth = network.depth if depth is None else depth
        check_depth(net, self.depth)
        if depth is not None and not self.variant.has_decoder:
            raise UserError(f"{variant} has no decoder; leave --depth out.")
        self.weights_file = weights_file or _trained(net, variant, depth)
        self.plan = plan(network, self.variant, self.depth)
        path = f"models/{folder(network, self.variant, self.depth)}/deploy.prototxt"
        self._check_weights(path)
        if (ROOT / path).is_file():
            self._net = self._load(ROOT / path)
        else:  # a depth that nobody generated, decoded with the default one's weights
            with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
                file.write(render([self.plan])[path])
                file.flush()
                self._net = self._load(Path(file.name))

    def _check_weights(self, path: str) -> None:
        deploy = next(net for net in self.plan.networks if net.path == path)
        wanted = {layer.name: list(layer.blobs) for layer in deploy.layers}
        wanted = {name: shapes for name, shapes in wanted.items() if shapes}
        loaded = weights.load(self.weights_file)
        comparison = weights.compare(wanted, loaded)
        if comparison.different:
            name = comparison.different[0]
            found = ", ".join(map(shape_text, weights.shapes(loaded)[name]))
            expected = ", ".join(map(shape_text, wanted[name]))
            raise UserError(
                f"layer {name} has shapes {found} in {relative(self.weights_file)},"
                f" {self.plan.network.name} has {expected}: these are another"
                " network's weights."
            )
        if comparison.missing:
            raise UserError(
                f"{relative(self.weights_file)} lacks layer {comparison.missing[0]}"
                f" of {path}: they are another variant's or an earlier stage's."
            )

    def _load(self, prototxt: Path) -> "caffe.Net":
        caffe.set_mode_cpu()
        return caffe.Net(str(prototxt), caffe.TEST, weights=str(self.weights_file))

    def images(self, split: str) -> Database:
        """The network's training ("train") or test ("val") images."""
        network = self.plan.network
        place = ROOT / "models" / network.name / self.variant.name
        return database(
            place / "train_val.prototxt", split, network.image, network.data.resize
        )

    def __call__(self, data: np.ndarray) -> Output:
        """data: float32 (N, C, H, W), mean-subtracted, in units of 0..255."""
        net = self._net
        net.blobs["data"].reshape(*data.shape)
        net.blobs["data"].data[...] = data
        blobs = net.forward()
        reconstructions = blobs.get("dec:data")
        return Output(
            blobs["prob"].reshape(len(data), -1).copy(),
            None if reconstructions is None else reconstructions.copy(),
        )


def _trained(net: str, variant: str, depth: int | None) -> Path:
    """What stage 4 left at this depth or, decoding only a part, at the default one."""
    own, default = Run(net, variant, 4, depth), Run(net, variant, 4)
    lower = depth is not None and depth < find_network(net).depth
    for run in (own, default) if lower else (own,):
        if run.final_weights.is_file():
            return run.final_weights
    missing = default if lower else own
    raise UserError(
        f"{missing.title} has not been run: give --weights FILE, or run"
        f" {missing.command}"
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that choose a Model."""
    parser.add_argument("--net", required=True)
    parser.add_argument("--variant", required=True)
    parser.add_argument(
        "--depth",
        type=int,
        metavar="N",
        help="decode from macro-layer N (default: the last convolutional one)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a .caffemodel (default: what the variant's last stage left)",
    )


def squared_error(reconstructions: np.ndarray, data: np.ndarray) -> np.ndarray:
    """(N,) of ||x^ - x||^2, pixels in [0, 1] (Figure A-3): Caffe's EuclideanLoss is
    half its mean.

    reconstructions: dec:data, units of [0, 1]; data: units of 0..255; both
    mean-subtracted, so that the mean cancels.
    """
    difference = reconstructions - data / 255
    return np.square(difference, dtype=np.float64).reshape(len(data), -1).sum(axis=1)
