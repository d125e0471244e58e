"""A trained network, ready to classify and to reconstruct."""

import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path

import caffe
import numpy as np

from generator import names
from generator.errors import UserError
from generator.files import render
from generator.networks import NETWORKS
from generator.stages import folder, plan
from generator.variants import find_variant
from swwae.base.files import require_file
from swwae.base.project import relative
from swwae.images.database import (
    Database,
    database,
    image_scale,
    trained_on_mirror_images,
)
from swwae.nets import building, network, weights
from swwae.nets.convolution import converted, transposed_layers
from swwae.runs.networks import depths
from swwae.runs.run import Run

BATCH_BYTES = 2 << 30
"""For a batch's blobs: a small GPU holds them beside the weights."""


LARGEST_BATCH = 50


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

    scheme = "single-crop"
    decodes = True
    """Whether reconstructions are to be had of a variant with a decoder."""

    mirrors = False
    """Whether an image's mirror image is classified, too."""

    def __init__(
        self,
        net: str,
        variant: str,
        depth: int | None = None,
        weights_file: Path | None = None,
        gpu: int | None = None,
    ):
        """weights_file: None for what the variant's stage 4 left. gpu: None: the CPU.

        Raises UserError: unknown names, a depth out of range, weights that are
        missing, unreadable, or lack a layer or fit another network.
        """
        self.net, self.variant = net, find_variant(variant)
        self._run = Run(net, variant, 4, depth)
        if depth is not None and not self.variant.has_decoder:
            raise UserError(f"{variant} has no decoder; leave --depth out.")
        self.decodes = self.decodes and self.variant.has_decoder
        self.weights_file = weights_file or _trained(net, variant, depth)
        self.depth = depths(net)[0] if depth is None else depth
        if gpu is None:
            caffe.set_mode_cpu()
        else:
            caffe.set_device(gpu)
            caffe.set_mode_gpu()
        self._load()

    def _load(self) -> None:
        path = self._run.models / "deploy.prototxt"
        built_in = NETWORKS.get(self.net)
        if path.is_file() or built_in is None:
            require_file(path, "network", self._run.generator_command)
            self._load_from(path, relative(path))
            return
        # a depth that nobody generated, decoded with the default one's weights
        made = plan(built_in, self.variant, self.depth)
        name = f"models/{folder(built_in, self.variant, self.depth)}/deploy.prototxt"
        with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
            file.write(render([made])[name])
            file.flush()
            self._load_from(Path(file.name), name)

    def _load_from(self, path: Path, name: str) -> None:
        self._check_weights(path, name)
        self._net = caffe.Net(str(path), caffe.TEST, weights=str(self.weights_file))
        self._examine(path)

    def _examine(self, path: Path) -> None:
        """Learns what its images are, and how many bytes a value of them becomes."""
        self._shape = network.image_shape(path)[1:]
        self._image = self._net.inputs[0]
        self._scale = image_scale(self._train_val)
        values = sum(blob.count for blob in self._net.blobs.values())
        self._growth = 4 * values / prod(self._net.blobs[self._image].shape)

    def batch_size(self, shape: tuple[int, int, int]) -> int:
        """Images (C, H, W) that BATCH_BYTES hold at a time, at most LARGEST_BATCH."""
        fitting = BATCH_BYTES / (self._growth * prod(shape))
        return int(min(max(fitting, 1), LARGEST_BATCH))

    def _check_weights(self, path: Path, name: str) -> None:
        wanted = building.parameter_shapes(path)
        loaded = weights.load(self.weights_file)
        weights.require_all(wanted, loaded, self.weights_file, self.net, name)

    def images(self, split: str) -> Database:
        """The network's training ("train") or test ("val") images."""
        return database(self._train_val, split, self._shape)

    @property
    def _train_val(self) -> Path:
        """Where the data layers are: the images are the same at every depth."""
        path = self._run.models / "train_val.prototxt"
        if path.is_file():
            return path
        return Run(self.net, self.variant.name, 4).models / "train_val.prototxt"

    def __call__(self, data: np.ndarray) -> Output:
        """data: float32 (N, C, H, W), mean-subtracted, in units of 0..255.

        Raises UserError where what the network yields is no class probabilities, or
        not finite.
        """
        net = self._net
        net.blobs[self._image].reshape(*data.shape)
        net.blobs[self._image].data[...] = data * self._scale
        blobs = net.forward()
        reconstructions = blobs.get(names.decoded(self._image))
        others = [name for name in blobs if not names.is_decoder(name)]
        scores = "prob" if "prob" in blobs else others[0] if len(others) == 1 else None
        if scores is None:
            raise UserError(
                f"{self.net} has no class probabilities: deploy.prototxt yields"
                f" {', '.join(blobs)}, and none is called 'prob'."
            )
        for name in (scores, names.decoded(self._image)):
            if name in blobs and not np.isfinite(blobs[name]).all():
                raise UserError(
                    f"{relative(self.weights_file)} makes numbers of '{name}' that are"
                    " not finite: the training that left these weights diverged; give"
                    " others with --weights FILE."
                )
        return Output(
            blobs[scores].reshape(len(data), -1).copy(),
            None if reconstructions is None else reconstructions.copy(),
        )


class FullyConvolutional(Model):
    """The classifier alone, over whole images of any size: deploy_conv.prototxt.

    The paper's "convolution" scheme (Section 4.3), as Simonyan & Zisserman (2015,
    Section 3.2): the map of class scores is averaged, then the softmax taken; the
    probabilities of an image and its mirror image are averaged. A network that was
    never trained on mirror images, vgg8 say, is given the image alone (ours): letters
    and shoes have a right and a wrong way round.
    """

    scheme = "convolution"
    decodes = False

    def _load(self) -> None:
        baseline = Run(self.net, "baseline", 4)  # has the classifier of all variants
        path = baseline.models / "deploy_conv.prototxt"
        if not path.is_file():
            raise UserError(
                f"the network {relative(path)} is missing: run"
                f" {baseline.generator_command} (networks without convolutions or"
                " class scores have none; single-crop serves them)."
            )
        given = weights.load(self.weights_file)
        transposed = transposed_layers(path.with_name("deploy.prototxt"))
        try:
            fitting, _ = converted(given, building.parameter_shapes(path), transposed)
        except UserError as error:
            raise UserError(f"{relative(self.weights_file)}: {error}") from error
        self._net = caffe.Net(str(path), caffe.TEST)
        for layer in fitting.layer:
            for own, blob in zip(
                self._net.params[layer.name], layer.blobs, strict=True
            ):
                own.data[...] = weights.array(blob)
        self._examine(path)

    def images(self, split: str) -> Database:
        """As a Model's, but whole; made larger where the classifier would not fit."""
        images = super().images(split)
        preprocessing = replace(images.preprocessing, whole=True)
        return replace(images, preprocessing=preprocessing)

    @cached_property
    def mirrors(self) -> bool:
        train_val = self._train_val
        return not train_val.is_file() or trained_on_mirror_images(train_val)

    def __call__(self, data: np.ndarray) -> Output:
        """data: float32 (N, C, H, W), mean-subtracted, in units of 0..255."""
        straight = super().__call__(data)
        if not self.mirrors:
            return straight
        mirrored = super().__call__(data[..., ::-1])
        return Output((straight.probabilities + mirrored.probabilities) / 2, None)


SCHEMES = {model.scheme: model for model in (Model, FullyConvolutional)}
"""Section 4.3's ways to classify an image."""


def _trained(net: str, variant: str, depth: int | None) -> Path:
    """What stage 4 left at this depth or, decoding only a part, at the default one."""
    own, default = Run(net, variant, 4, depth), Run(net, variant, 4)
    deepest, _ = depths(net)
    lower = None not in (depth, deepest) and depth < deepest
    for run in (own, default) if lower else (own,):
        if run.final_weights.is_file():
            return run.final_weights
    missing = default if lower else own
    raise UserError(
        f"{missing.title} has not been run: give --weights FILE, or run"
        f" {missing.command}"
    )


def squared_error(reconstructions: np.ndarray, data: np.ndarray) -> np.ndarray:
    """(N,) of ||x^ - x||^2, pixels in [0, 1] (Figure A-3): Caffe's EuclideanLoss is
    half its mean.

    reconstructions: dec:data, units of [0, 1]; data: units of 0..255; both
    mean-subtracted, so that the mean cancels.
    """
    difference = reconstructions - data / 255
    return np.square(difference, dtype=np.float64).reshape(len(data), -1).sum(axis=1)
