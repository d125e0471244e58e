"""A trained network, ready to classify and to reconstruct."""

from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property
from math import prod
from pathlib import Path
from typing import NamedTuple

import caffe
import numpy as np
from caffe.proto import caffe_pb2

from generator import names
from generator.errors import UserError
from generator.lmdb_pages import FILE
from generator.variants import find_variant
from swwae.base.processes import holds_gpu
from swwae.base.project import CAFFE, locate, relative
from swwae.base.settings import require_settings
from swwae.engine import devices
from swwae.evaluation.reconstruct import Output, batches, load, reconstruct
from swwae.images.arrays import Images, planes, stacked
from swwae.images.database import Database, database
from swwae.images.preprocessing import Preprocessing
from swwae.nets import building, memory, network, weights
from swwae.nets.convolution import converted_from, network_file, transposed_layers
from swwae.nets.deployed import (
    Deployed,
    as_tested,
    data_layers_of,
    deployed,
    described,
)
from swwae.nets.transformation import transformation
from swwae.runs.networks import check_depth, depths
from swwae.runs.run import Run

BATCH_BYTES = 2 << 30
"""For a batch's blobs: a small GPU holds them beside the weights."""

LARGEST_BATCH = 50

ELSEWHERE = "end what else computes there, or take another GPU, or the CPU"
"""What to do where a GPU's memory does not even do for one image."""


class Reconstructions(NamedTuple):
    """What a decoder makes of N images.

    images: uint8 (N, H, W) of grey or (N, H, W, 3), RGB.
    errors: float64 (N,): ||x^ - x||^2, pixels in [0, 1], before they are rounded and
        clipped (Figure A-3).
    originals: the images as the network saw them, of the same shape.
    """

    images: np.ndarray
    errors: np.ndarray
    originals: np.ndarray


class Model:
    """A network with trained weights, to classify, look into and reconstruct.

    model = Model("vgg16", "swwae-all", weights="vgg16.caffemodel")
    model.classify(["cat.jpg", "dog.jpg"])  # (2, 1000)

    Images are uint8, (N, H, W, 3) of RGB or (N, H, W) of grey; or a sequence of (H, W,
    3) and (H, W), their sizes as they come, and of names: of image files, val:N or
    train:N (the N-th image of the data set), unseen:NAME (as tools/reconstruct.py).
    They are made to fit as for tests: resized, the centre cropped, in colour or grey,
    normalised. Names of files are taken as they are or, where there is no such file,
    relative to the project's root.
    """

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
        weights: Path | str | None = None,
        gpu: int | None = None,
    ) -> None:
        """depth: the macro-layer to decode from; None: the network's default. weights:
        a .caffemodel; None: what the variant's stage 4 left. gpu: None: the CPU.

        Raises UserError: unknown names, a depth out of range, weights that are
        missing, unreadable, not finite, or lack a layer or fit another network; no such
        GPU; an environment that Caffe refuses.
        """
        require_settings()
        self.net, self.variant = net, find_variant(variant)
        run = Run(net, variant, 4, depth)
        if depth is not None and not self.variant.has_decoder:
            raise UserError(f"{variant} has no decoder; leave --depth out.")
        self.decodes = self.decodes and self.variant.has_decoder
        self.weights_file = (
            _trained(net, variant, depth) if weights is None else locate(weights)
        )
        self.depth = depths(net)[0] if depth is None else depth
        if gpu is not None:
            devices.choose(CAFFE, str(gpu))  # Caffe itself would end the process
        self._gpu = gpu
        self._largest = 0  # values of the largest batch that the GPU has held
        self._described = self._describe(run)
        fitting = self._fitting()
        self._check_context()
        # Only now: what is above builds the network in a child, which a process that
        # has begun to use a GPU cannot fork, and takes seconds to spawn.
        self._enter_mode()
        self._net = self._build(fitting)
        self._require_finite()
        values = sum(blob.count for blob in self._net.blobs.values())
        image = self._net.blobs[self._described.blob]
        self._growth = 4 * values / prod(image.shape)
        blobs = (blob for each in self._net.params.values() for blob in each)
        self._parameters = 4 * sum(blob.count for blob in blobs)
        self._others: dict[int, Model] = {}

    def __repr__(self) -> str:
        place = f", depth {self.depth}" if self.decodes and self.depth else ""
        return f"<{self.net} {self.variant.name}{place}, {relative(self.weights_file)}>"

    # --- for notebooks

    def classify(self, images: Images) -> np.ndarray:
        """Returns the probability of each class, float32 (N, classes)."""
        data = batches(self, self._planes(images))
        return np.concatenate([self(batch).probabilities for batch in data])

    def features(self, images: Images, blob: str) -> np.ndarray:
        """Returns what a blob holds for each image, float32 (N, ...): (N, C, H, W) of a
        convolution or pooling.

        blob: such as conv3_3/pool; `blobs` lists them. A layer that works in place,
        such as a ReLU, leaves its values in the blob that it reads. Raises UserError
        where there is no such blob, or where it has another shape for other images.
        """
        self._check_blob(blob)
        found = []
        for data in batches(self, self._planes(images)):
            self._forward(data)
            found.append(self._net.blobs[blob].data.copy())
        shapes = sorted({values.shape[1:] for values in found})
        if len(shapes) > 1:
            raise UserError(
                f"{blob} has the shapes {', '.join(map(str, shapes))}, as the images"
                " differ in size: give those of one size at a time."
            )
        return np.concatenate(found)

    def reconstruct(self, images: Images, depth: int | None = None) -> Reconstructions:
        """Returns what the decoder makes of the images' features, and its errors.

        depth: the macro-layer that is decoded from, with the same weights; None: the
        model's own. Raises UserError where there is no decoder, or no such depth.
        """
        check_depth(self.net, depth)
        model = self if depth in (None, self.depth) else self._at(depth)
        found = reconstruct(model, model._planes(images))
        originals, copies, errors = found
        return Reconstructions(stacked(copies), errors, stacked(originals))

    @property
    def blobs(self) -> dict[str, tuple[int, ...]]:
        """The network's blobs, in order, and their shapes for one image."""
        return {name: tuple(blob.shape)[1:] for name, blob in self._net.blobs.items()}

    def _planes(self, images: Images) -> list[np.ndarray]:
        return planes(images, lambda name: load(self, name))

    def _at(self, depth: int) -> "Model":
        """Returns the same model, decoding from another depth."""
        if depth not in self._others:
            self._others[depth] = type(self)(
                self.net, self.variant.name, depth, self.weights_file, self._gpu
            )
        return self._others[depth]

    def _check_blob(self, name: str) -> None:
        known = list(self._net.blobs)
        if name in known:
            return
        tops = self._net.top_names.get(name, ())
        if tops:
            hint = f"the layer {name} leaves its values in {' and '.join(tops)}"
        else:
            near = get_close_matches(name, known, 3) or known
            hint = f"near ones are {', '.join(near)}" if near is not known else ""
            hint = hint or f"there are {', '.join(near)}"
        raise UserError(f"{self.net} {self.variant.name} has no blob {name}; {hint}.")

    # --- what it consists of

    def _describe(self, run: Run) -> Deployed:
        """Returns the network that is used."""
        return as_tested(deployed(self.net, self.variant.name, run.depth))

    def _fitting(self) -> caffe_pb2.NetParameter | None:
        """Returns the weights to set, None for those of the file as they are; UserError
        where they do not fit."""
        wanted, loaded = self._described.parameters, weights.load(self.weights_file)
        weights.require_all(
            wanted, loaded, self.weights_file, self.net, self._described.path
        )
        return None

    def _build(self, fitting: caffe_pb2.NetParameter | None) -> caffe.Net:
        with self._described.file() as path:
            if fitting is None:
                return caffe.Net(str(path), caffe.TEST, weights=str(self.weights_file))
            net = caffe.Net(str(path), caffe.TEST)
        for layer in fitting.layer:
            for target, blob in zip(net.params[layer.name], layer.blobs, strict=True):
                target.data[...] = weights.array(blob)
        return net

    def _require_finite(self) -> None:
        # Caffe's arrays are faster to look at than those of a .caffemodel.
        for layer, parameters in self._net.params.items():
            if not all(np.isfinite(blob.data).all() for blob in parameters):
                raise weights.NotFinite(layer, self.weights_file)

    def _enter_mode(self) -> None:
        if self._gpu is None:
            caffe.set_mode_cpu()
        else:
            caffe.set_device(self._gpu)
            caffe.set_mode_gpu()

    # --- batches

    @property
    def preprocessing(self) -> Preprocessing:
        """What makes an image fit."""
        return Preprocessing.of(self._described.transformation, self._described.image)

    def images(self, split: str) -> Database:
        """Returns the network's training ("train") or test ("val") images; UserError
        where its train_val.prototxt names none.

        Where its data layer leaves them another size than the network was generated
        for, and the parameters fit that, too, they are read in that size, as in
        training.
        """
        network = self._described
        found = database(network.train_val, split, network.image)
        found = replace(found, preprocessing=self.preprocessing)
        if found.preprocessing.shorter_edge or not (found.path / FILE).is_file():
            return found
        size = found.first_size()
        if found.refusal("", (network.image[0], *size)) and self._takes(size):
            return found.of_size(*size)
        return found

    def _takes(self, size: tuple[int, int]) -> bool:
        """Tells whether the parameters fit images of another height and width."""
        described = self._described
        given = (described.image[0], *size)
        with described.file() as path:
            return building.fits(path, described.blob, given, described.image)

    def batch_size(self, shape: tuple[int, int, int]) -> int:
        """Returns how many images (C, H, W) BATCH_BYTES hold at a time, or what is free
        of the GPU's memory, at most LARGEST_BATCH."""
        room = BATCH_BYTES
        if (free := self._free_memory()) is not None:
            room = min(room, free - memory.workspace() + self._held())
        return int(min(max(room / (self._growth * prod(shape)), 1), LARGEST_BATCH))

    def _held(self) -> float:
        """Returns the bytes that the GPU holds of the network, about; without its
        parameters before the first batch, which takes them there."""
        return self._growth * self._largest - (0 if self._largest else self._parameters)

    def _free_memory(self) -> int | None:
        return None if self._gpu is None else devices.free_memory(self._gpu)

    def _check_context(self) -> None:
        """Raises UserError where not even CUDA itself fits: Caffe would end the
        process."""
        free = self._free_memory()
        if free is not None and free < memory.CONTEXT and not holds_gpu():
            raise UserError(
                f"GPU {self._gpu} has {free >> 20:,} MB of its memory free, less than"
                f" the {memory.CONTEXT >> 20:,} MB that CUDA takes, about; {ELSEWHERE}."
            )

    def _check_memory(self, shape: tuple[int, ...]) -> None:
        """Raises UserError where a batch (N, C, H, W) is too large for the GPU: Caffe
        would end the process."""
        count, one = shape[0], prod(shape[1:])
        if self._gpu is None or count * one <= self._largest:
            return
        free = self._free_memory()
        needed = self._growth * count * one
        if free is not None and needed > free + self._held():
            fitting = int((free + self._held()) / (self._growth * one))
            size = "x".join(map(str, shape[1:]))
            mend = (
                f"take at most {fitting} at a time (evaluate.py's --batch), or end what"
                " else computes there"
                if fitting > 0
                else ELSEWHERE
            )
            raise UserError(
                f"GPU {self._gpu} has {free >> 20:,} MB of its memory free, and"
                f" {self.net} {self.variant.name} takes about"
                f" {int(needed - self._held()) >> 20:,} MB more (an estimate) for"
                f" {count} images of {size} at a time; {mend}."
            )
        self._largest = count * one

    def __call__(self, data: np.ndarray) -> Output:
        """Returns the probabilities and reconstructions of a batch.

        data: float32 (N, C, H, W), mean-subtracted, in units of 0..255, BGR. Raises
        UserError where what the network yields is no class probabilities, or not
        finite.
        """
        blobs = self._forward(data)
        decoded = names.decoded(self._described.blob)
        scores = self._scores
        if scores is None:
            raise UserError(
                f"{self.net} has no class probabilities: deploy.prototxt yields"
                f" {', '.join(blobs)}, and none is called 'prob'."
            )
        for name in (scores, decoded):
            if name in blobs and not np.isfinite(blobs[name]).all():
                raise UserError(
                    f"{relative(self.weights_file)} makes numbers of '{name}' that are"
                    " not finite: the training that left these weights diverged; give"
                    " others with --weights FILE."
                )
        reconstructions = blobs.get(decoded)
        return Output(
            blobs[scores].reshape(len(data), -1).copy(),
            None if reconstructions is None else reconstructions.copy(),
        )

    @property
    def classes(self) -> int | None:
        """How many classes have a probability; None where the network yields none."""
        scores = self._scores
        return None if scores is None else prod(self._net.blobs[scores].shape[1:])

    @property
    def _scores(self) -> str | None:
        """The blob of the probabilities; None where it is not known."""
        outputs = self._net.outputs
        others = [name for name in outputs if not names.is_decoder(name)]
        if "prob" in outputs:
            return "prob"
        return others[0] if len(others) == 1 else None

    def _forward(self, data: np.ndarray) -> dict[str, np.ndarray]:
        """Returns what the network yields, by blob, until it is called again."""
        self._enter_mode()  # of this thread, or after another model's
        self._check_memory(data.shape)
        image = self._net.blobs[self._described.blob]
        image.reshape(*data.shape)
        image.data[...] = data * self._described.transformation.scale
        return self._net.forward()


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

    def _describe(self, run: Run) -> Deployed:
        path = network_file(self.net, otherwise="; single-crop serves them")
        return described(
            self.net,
            self.variant.name,
            relative(path),
            network.read(path),
            data_layers_of(run),
        )

    def _fitting(self) -> caffe_pb2.NetParameter:
        wanted, transposed = self._described.parameters, transposed_layers(self.net)
        return converted_from(self.weights_file, wanted, transposed)[0]

    @property
    def preprocessing(self) -> Preprocessing:
        """A Model's, but an image stays whole; it is made larger where the classifier
        would not fit."""
        return replace(super().preprocessing, whole=True)

    @cached_property
    def mirrors(self) -> bool:
        train_val = self._described.train_val
        return not train_val.is_file() or transformation(train_val, "train").mirror

    def __call__(self, data: np.ndarray) -> Output:
        """Returns the probabilities of a batch; data as a Model's."""
        straight = super().__call__(data)
        if not self.mirrors:
            return straight
        mirrored = super().__call__(data[..., ::-1])
        return Output((straight.probabilities + mirrored.probabilities) / 2, None)


SCHEMES = {model.scheme: model for model in (Model, FullyConvolutional)}
"""Section 4.3's ways to classify an image."""


def _trained(net: str, variant: str, depth: int | None) -> Path:
    """Returns what stage 4 left at this depth or, decoding only a part, at the default
    one; raises UserError where it has not been run."""
    exact, default = Run(net, variant, 4, depth), Run(net, variant, 4)
    deepest, _ = depths(net)
    lower = None not in (depth, deepest) and depth < deepest
    for run in (exact, default) if lower else (exact,):
        if run.final_weights.is_file():
            return run.final_weights
    missing = default if lower else exact
    raise UserError(
        f"{missing.title} has not been run: give --weights FILE, or run"
        f" {missing.command}"
    )
