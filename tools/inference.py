"""A trained network, ready to classify and to reconstruct."""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import caffe
import network
import numpy as np
import weights
from images import UNSCALED, Database, database, image_scale
from prerequisites import require
from runs import Run, relative
from runtime import UserError

from generator.files import render
from generator.layers import shape_text
from generator.networks import NETWORKS
from generator.stages import folder, plan
from generator.variants import find_variant


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
        self.net, self.variant = net, find_variant(variant)
        self._run = Run(net, variant, 4, depth)
        if depth is not None and not self.variant.has_decoder:
            raise UserError(f"{variant} has no decoder; leave --depth out.")
        self.weights_file = weights_file or _trained(net, variant, depth)
        built_in = NETWORKS.get(net)
        self.depth = built_in.depth if built_in and depth is None else depth
        path = self._run.models / "deploy.prototxt"
        if path.is_file() or built_in is None:
            require(path, "network", self._run.generator_command)
            self._load(path, relative(path))
            return
        # a depth that nobody generated, decoded with the default one's weights
        made = plan(built_in, self.variant, self.depth)
        name = f"models/{folder(built_in, self.variant, self.depth)}/deploy.prototxt"
        with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
            file.write(render([made])[name])
            file.flush()
            self._load(Path(file.name), name)

    def _load(self, path: Path, name: str) -> None:
        self._check_weights(path, name)
        self._shape = network.image_shape(path)[1:]
        caffe.set_mode_cpu()
        self._net = caffe.Net(str(path), caffe.TEST, weights=str(self.weights_file))
        self._image = self._net.inputs[0]
        self._scale = image_scale(self._run.models / "train_val.prototxt")

    def _check_weights(self, path: Path, name: str) -> None:
        wanted = network.parameter_shapes(path)
        loaded = weights.load(self.weights_file)
        comparison = weights.compare(wanted, loaded)
        if comparison.different:
            layer = comparison.different[0]
            found = ", ".join(map(shape_text, weights.shapes(loaded)[layer]))
            expected = ", ".join(map(shape_text, wanted[layer]))
            raise UserError(
                f"layer {layer} has shapes {found} in {relative(self.weights_file)},"
                f" {self.net} has {expected}: these are another network's weights."
            )
        if comparison.missing:
            raise UserError(
                f"{relative(self.weights_file)} lacks layer {comparison.missing[0]}"
                f" of {name}: they are another variant's or an earlier stage's."
            )

    def images(self, split: str) -> Database:
        """The network's training ("train") or test ("val") images."""
        built_in = NETWORKS.get(self.net)
        path = self._run.models / "train_val.prototxt"
        if not path.is_file():  # the images are the same at every depth
            path = Run(self.net, self.variant.name, 4).models / "train_val.prototxt"
        resize = built_in.data.resize if built_in else UNSCALED
        return database(path, split, self._shape, resize)

    def __call__(self, data: np.ndarray) -> Output:
        """data: float32 (N, C, H, W), mean-subtracted, in units of 0..255."""
        net = self._net
        net.blobs[self._image].reshape(*data.shape)
        net.blobs[self._image].data[...] = data * self._scale
        blobs = net.forward()
        reconstructions = blobs.get(f"dec:{self._image}")
        others = [name for name in blobs if not name.startswith("dec:")]
        scores = "prob" if "prob" in blobs else others[0] if len(others) == 1 else None
        if scores is None:
            raise UserError(
                f"{self.net} has no class probabilities: deploy.prototxt yields"
                f" {', '.join(blobs)}, and none is called 'prob'."
            )
        return Output(
            blobs[scores].reshape(len(data), -1).copy(),
            None if reconstructions is None else reconstructions.copy(),
        )


def _trained(net: str, variant: str, depth: int | None) -> Path:
    """What stage 4 left at this depth or, decoding only a part, at the default one."""
    own, default = Run(net, variant, 4, depth), Run(net, variant, 4)
    built_in = NETWORKS.get(net)
    lower = bool(built_in and depth is not None and depth < built_in.depth)
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
