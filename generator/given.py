"""A user's own Caffe network, read, followed from the image on, cut into macro-layers.

The chain is what leads from the image to the scores: at every blob the one reader from
which a layer with weights can be reached. It ends where nothing more follows, or where
a layer cannot be mirrored; depths up to there can still be decoded from.
"""

import shlex
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from . import paper
from .derived import check_name, folder_name
from .errors import UserError
from .layers import PHASES, Fields, Layer, Shape
from .mirror import INVERTIBLE, obstacle
from .networks import NETWORKS, macro_layer
from .schema import fields_of, read, read_network
from .sequence import (
    WEIGHTED,
    Activation,
    GivenData,
    MacroLayer,
    Network,
    Schedule,
)
from .shapes import inferred
from .source import batch_size, checked, count, image_shape, pixel_scale
from .training import estimated

LEARNING = (*WEIGHTED, "Deconvolution", "Embed", "LSTM", "RNN", "Recurrent", "Python")
"""Layers that a chain must not pass by."""

CLASSIFYING = ("SoftmaxWithLoss", "Softmax", "MultinomialLogisticLoss")

RESERVED = ("dec:", "noisy:")
"""How the names begin that augmentation gives."""

ASSUMED_IMAGES = 50000
"""An epoch of data that are not there to count (ours)."""

MAX_NAME = 255
"""Characters that the name of a layer or blob may have."""

GROUPS = ("pooling", "layer")
"""Where a macro-layer of convolutions ends: behind a pooling, or behind every one."""


@dataclass(frozen=True)
class Options:
    """What the command line says of a user's network.

    name: of its folder below models/; None: after the file's own name. image: the shape
    of one image, where the file does not tell. group: one of GROUPS. solver: the file
    by which the user trains it.
    """

    name: str | None = None
    image: Shape | None = None
    group: str = "pooling"
    solver: Path | None = None


def read_given(path: Path, options: Options) -> Network:
    """The network in a file; UserError, one sentence, where it cannot be mirrored."""
    message = read_network(path)
    layers = [_layer(each) for each in message.layer]
    _check_names(layers, path)
    phase = "TRAIN" if _has_source(layers, "TRAIN") else "TEST"
    walk = _Walk(layers, phase, path)
    source = layers[walk.start.producer]
    image = _image(source, walk.start.blob, options, path)
    chain, obstacle_found = walk.follow(image.shape)
    macro_layers, given, head = _cut(layers, chain, options.group)
    if not macro_layers:
        raise UserError(
            f"{path}: no layer with weights can be decoded from, as {obstacle_found}."
        )
    last = macro_layers[-1].output
    limit = None
    if obstacle_found:
        limit = (
            f"{obstacle_found}; the last depth that works is --depth"
            f" {len(macro_layers)} ({last.name})"
        )
    data = _data(given, layers)
    scale = pixel_scale(source)
    fields = fields_of(message, "layer")
    network = Network(
        name=_name(path, fields.get("name", ""), options),
        title=_title(path, fields.get("name", "")),
        image=image,
        pixel_scale=scale,
        data=data,
        macro_layers=macro_layers,
        scores=_scores(layers, chain, phase, bool(limit)),
        head=head,
        training=None,
        decoder_std=paper.DECODER_STD,
        magnitude=0.3 / scale if scale else 0.3,
        source=_command(path, options),
        limit=limit,
        fields=fields,
    )
    title = f"{network.title}; default depth {network.depth} of {network.max_depth}"
    network = replace(network, title=title)
    if data.train_images:
        network = replace(network, training=_training(network, options))
    return network


# --- the file


def _layer(message) -> Layer:
    fields = fields_of(message, "name", "type", "bottom", "top", "blobs")
    return Layer(
        message.name,
        message.type,
        tuple(message.bottom),
        tuple(message.top),
        fields,
    )


def _check_names(layers: list[Layer], path: Path) -> None:
    for layer in layers:
        for name in (layer.type, layer.name, *layer.bottoms, *layer.tops):
            if not name or not name.isprintable() or len(name) > MAX_NAME:
                shown = ascii(name) if len(name) <= MAX_NAME else f"{name[:20]}..."
                raise UserError(
                    f"{path}: a layer, its type or one of its blobs has the name"
                    f" {shown}; printable characters, {MAX_NAME} at most, are expected."
                )
        if layer.type in INVERTIBLE and not (layer.bottoms and layer.tops):
            raise UserError(
                f"{path}: layer '{layer.name}' ({layer.type}) has no bottom or no top."
            )
        for name in (layer.name, *layer.tops):
            if name.startswith(RESERVED):
                raise UserError(
                    f"{path}: the name '{name}' is one that augmentation gives; name"
                    " the network that was augmented, not the result."
                )


def _has_source(layers: list[Layer], phase: str) -> bool:
    return any(not layer.bottoms and layer.in_phase(phase) for layer in layers)


def _name(path: Path, own: str, options: Options) -> str:
    """The folder's name: lower case, without what paths do not like."""
    wanted = options.name or own or path.stem
    name = folder_name(wanted)
    if options.name is not None:
        check_name(options.name, NETWORKS)
    if not name:
        raise UserError(f"{path} has no name that a folder can have; give --name NAME.")
    if name in NETWORKS:
        raise UserError(
            f"{path} calls itself {name}, as a built-in network does; give it another"
            " name with --name NAME."
        )
    return name


def _title(path: Path, own: str) -> str:
    fits = own.isprintable() and len(own) <= MAX_NAME
    return f"{own if own and fits else path.stem}, from {path}"


def _command(path: Path, options: Options) -> str:
    parts = [shlex.quote(str(path))]
    if options.name:
        parts += ["--name", options.name]
    if options.image:
        parts += ["--image", "x".join(map(str, options.image))]
    if options.group != GROUPS[0]:
        parts += ["--group", options.group]
    if options.solver:
        parts += ["--solver", shlex.quote(str(options.solver))]
    return " ".join(parts)


def _image(source: Layer, blob: str, options: Options, path: Path) -> Activation:
    known = image_shape(source, source.tops.index(blob))
    if known and options.image and known != options.image:
        raise UserError(
            f"--image says {options.image}, but layer '{source.name}' of {path} yields"
            f" {known}; leave the option out."
        )
    shape = known or options.image
    if shape is None:
        raise UserError(
            f"{path} does not tell what shape its images have, and the data of layer"
            f" '{source.name}' ({source.type}) are not there to look at; give --image"
            " CHANNELSxHEIGHTxWIDTH, such as --image 3x224x224."
        )
    return Activation(blob, blob, checked(shape, blob))


# --- the chain


@dataclass(frozen=True)
class _Value:
    """What a blob holds after a layer has written it."""

    producer: int
    blob: str


class _Walk:
    """Who reads what, in one phase of a file."""

    def __init__(self, layers: list[Layer], phase: str, path: Path) -> None:
        self._layers = layers
        self._path = path
        self._readers: dict[_Value, list[int]] = defaultdict(list)
        self._two_phases = _has_source(layers, PHASES[1]) and phase == PHASES[0]
        self._connect(phase)
        self._leads = self._reach_weights()
        self.start = self._find_start()

    def _connect(self, phase: str) -> None:
        current: dict[str, _Value] = {}
        for index, layer in enumerate(self._layers):
            if not layer.in_phase(phase):
                continue
            for blob in layer.bottoms:
                if blob not in current:
                    raise UserError(
                        f"{self._path}: layer '{layer.name}' reads '{blob}', which no"
                        f" layer before it makes in phase {phase}."
                    )
                self._readers[current[blob]].append(index)
            for blob in layer.tops:
                if blob in current and blob not in layer.bottoms:
                    raise UserError(
                        f"{self._path}: layer '{layer.name}' makes '{blob}', which is"
                        " there already."
                    )
                current[blob] = _Value(index, blob)

    def _reach_weights(self) -> list[bool]:
        leads = [False] * len(self._layers)
        for index in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[index]
            leads[index] = layer.type in LEARNING or any(
                leads[reader]
                for top in layer.tops
                for reader in self._readers.get(_Value(index, top), ())
            )
        return leads

    def _find_start(self) -> _Value:
        starts = [
            value
            for value, readers in self._readers.items()
            if not self._layers[value.producer].bottoms
            and any(self._leads[reader] for reader in readers)
        ]
        if not starts:
            raise UserError(
                f"{self._path}: no layer with weights reads what a data or Input layer"
                " yields; there is nothing to mirror."
            )
        if len(starts) > 1:
            second = min(self._readers[starts[1]])
            raise UserError(
                f"{self._path}: no depth can be decoded from, as layer"
                f" '{self._layers[second].name}' reads a second input,"
                f" '{starts[1].blob}', besides '{starts[0].blob}'."
            )
        return starts[0]

    def follow(self, shape: Shape) -> tuple[list[tuple[int, Layer]], str | None]:
        """The chain with its layers' places in the file; what ends it before its
        time, a clause, or None."""
        chain: list[tuple[int, Layer]] = []
        value = self.start
        while True:
            readers = list(dict.fromkeys(self._readers.get(value, ())))
            leading = [reader for reader in readers if self._leads[reader]]
            if len(leading) > 1:
                first = self._layers[leading[0]]
                return chain, (
                    f"layer '{first.name}' is in the way: it is one of {len(leading)}"
                    f" branches that read '{value.blob}'"
                )
            if not leading:
                leading = [r for r in readers if self._ends_with(r)]
                if len(leading) != 1:
                    return chain, None
            index = leading[0]
            layer = self._layers[index]
            problem = self._problem(layer, shape)
            if value == self.start and layer.tops[:1] == (value.blob,):
                problem = (
                    "works in place on the image, with which the reconstruction is"
                    " compared; give its top a name of its own"
                )
            if problem:
                return chain, f"layer '{layer.name}' is in the way: it {problem}"
            shape, blobs = inferred(layer, shape)
            chain.append((index, replace(layer, shape=shape, blobs=blobs)))
            value = _Value(index, layer.tops[0])

    def _ends_with(self, index: int) -> bool:
        """Behind the last weights: an activation function or pooling still counts."""
        layer = self._layers[index]
        return layer.type in INVERTIBLE and len(layer.bottoms) == len(layer.tops) == 1

    def _problem(self, layer: Layer, shape: Shape) -> str | None:
        if layer.type not in INVERTIBLE:
            return obstacle(layer, shape)
        if len(layer.bottoms) != 1:
            return f"reads {len(layer.bottoms)} blobs"
        if len(layer.tops) > 1 and layer.type != "Pooling" or not layer.tops:
            return f"makes {len(layer.tops)} blobs"
        everywhere = all(layer.in_phase(phase) for phase in PHASES)
        if self._two_phases and not everywhere and layer.type != "Dropout":
            return "takes part in one phase only"
        return obstacle(layer, shape)


# --- macro-layers


def _cut(
    layers: list[Layer], chain: list[tuple[int, Layer]], group: str
) -> tuple[tuple[MacroLayer, ...], tuple[Layer, ...], tuple[Layer, ...]]:
    """Macro-layers; what stands before the first one; what follows the last."""
    groups: list[list[tuple[int, Layer]]] = [[]]
    for index, layer in chain:
        if layer.type in WEIGHTED and (
            _complete([la for _, la in groups[-1]], layer)
            or (group == "layer" and _weighted(groups[-1]))
        ):
            groups.append([])
        groups[-1].append((index, layer))
    while groups and not _weighted(groups[-1]):
        groups.pop()
    if not groups:
        return (), tuple(layers), ()
    shaped = dict(chain)
    begins = [members[0][0] for members in groups]
    ends = [*begins[1:], groups[-1][-1][0] + 1]
    macro_layers = tuple(
        macro_layer(
            [layer for _, layer in members],
            tuple(shaped.get(i, layers[i]) for i in range(begin, end)),
        )
        for members, begin, end in zip(groups, begins, ends, strict=True)
    )
    return macro_layers, tuple(layers[: begins[0]]), tuple(layers[ends[-1] :])


def _weighted(members: list[tuple[int, Layer]]) -> list[Layer]:
    return [layer for _, layer in members if layer.type in WEIGHTED]


def _complete(group: list[Layer], following: Layer) -> bool:
    """Whether a macro-layer ends before the next layer with weights."""
    weighted = [i for i, layer in enumerate(group) if layer.type in WEIGHTED]
    if not weighted:
        return False
    inner = "InnerProduct" in (following.type, group[weighted[-1]].type)
    return inner or any(la.type == "Pooling" for la in group[weighted[-1] :])


def _scores(
    layers: list[Layer], chain: list[tuple[int, Layer]], phase: str, limited: bool
) -> Activation | None:
    """What a softmax reads: the chain's end, or behind it where it is cut short."""
    reading = [
        layer.bottoms[0]
        for layer in layers
        if layer.type in CLASSIFYING and layer.in_phase(phase) and layer.bottoms
    ]
    if not reading:
        return None
    last = chain[-1][1]
    if last.tops[0] in reading:
        return Activation(last.name, last.tops[0], last.shape)
    return Activation(reading[-1], reading[-1], ()) if limited else None


# --- data and training


TRAINABLE = ("Data", "ImageData", "HDF5Data", "WindowData")


def _data(given: tuple[Layer, ...], layers: list[Layer]) -> GivenData:
    def of(phase: str) -> Layer | None:
        return next(
            (
                layer
                for layer in layers
                if layer.type in TRAINABLE and layer.in_phase(phase)
            ),
            None,
        )

    train, test = of("TRAIN"), of("TEST")
    if train is None:
        return GivenData(given)
    return GivenData(
        given,
        train_batch=batch_size(train),
        train_images=count(train) or ASSUMED_IMAGES,
        test_batch=batch_size(test) if test else 1,
        test_images=(count(test) or 10000) if test else 0,
        counted=count(train) is not None,
    )


POLICIES = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power",),
    "sigmoid": ("gamma", "stepsize"),
}
"""Caffe's learning rate policies, and what each needs."""


def _check_solver(own: Fields, path: Path) -> None:
    """Raises UserError for a solver with which `caffe train` would end at once."""
    policy = own.get("lr_policy")
    problem = None
    if not 0 < own.get("base_lr", 0.0) < float("inf"):
        problem = f"its base_lr is {own.get('base_lr', 'missing')}"
    elif own.get("max_iter", 0) < 1:
        problem = f"its max_iter is {own.get('max_iter', 'missing')}"
    elif policy not in POLICIES:
        problem = (
            f"its lr_policy is {policy or 'missing'}; known: {', '.join(POLICIES)}"
        )
    elif missing := [name for name in POLICIES[policy] if name not in own]:
        problem = f"lr_policy '{policy}' needs {missing[0]}"
    elif own.get("test_iter") and own.get("test_interval", 0) < 1:
        problem = "it has a test_iter and no test_interval"
    elif len(own.get("test_iter", ())) > 1:
        problem = "it tests several networks; one test_iter is understood here"
    if problem:
        raise UserError(f"--solver {path}: {problem}.")


def _training(network: Network, options: Options):
    data = network.data
    why = "ours, a common choice; --solver FILE takes your own"
    if not data.counted:
        why += f"; the data are not there to count, {ASSUMED_IMAGES:,} images assumed"
    own: Fields = {}
    schedule = Schedule(0.01, 30, data.train_batch, why, steps=(20, 27))
    if options.solver is not None:
        own = fields_of(read(options.solver, "SolverParameter"))
        _check_solver(own, options.solver)
        schedule = replace(
            schedule,
            base_lr=own.get("base_lr", schedule.base_lr),
            weight_decay=own.get("weight_decay", 0.0),
        )
    training = estimated(network, schedule, data.train_batch)
    return replace(training, solver=own)
