"""The picture of a network, after the paper's Figures 1 and 2.

Encoder from the image upwards, decoder beside it at equal heights, downwards. Of a
ladder: noisy encoder, decoder, clean encoder (Rasmus et al. 2015).
"""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from . import ladder
from .errors import UserError
from .ladder import NOISY
from .layers import Layer, Shape, shape_text
from .mirror import MIRRORED, Decoding, decoder
from .sequence import PASSED, WEIGHTED, Inverse, MacroLayer, Network
from .shapes import ShapeError, Window, convolution_window, pooling_window
from .variants import Variant

FORMATS = (".svg", ".png", ".pdf")

BOXED = (*WEIGHTED, "Pooling", "Deconvolution", "Depooling")
"""Layers with a box of their own; the others are text in one."""

# The unit of the plane is a row: the height of a box and the gap above it.
ROW_INCHES = 0.36
UNIT_INCHES = 0.63  # of width
MAX_PIXELS = 2**16 - 1  # what Agg can draw, each way
PIXELS_PER_INCH = 110
COLUMN = 4.0  # from one column's middle to the next
WIDTH, HEIGHT = 2.9, 0.7  # of a box
NODE_WIDTH, NODE_HEIGHT = 0.62, 0.34  # of an activation's ellipse
APART = 0.42  # of a layerwise decoder's end from the next one's beginning

CONVOLUTION, INNER_PRODUCT, POOLING = "#e2eefa", "#b9deac", "#e9a55e"
"""Light enough for black text, of different lightness in grey."""
FILLS = {
    "Convolution": CONVOLUTION,
    "Deconvolution": CONVOLUTION,
    "InnerProduct": INNER_PRODUCT,
    "Pooling": POOLING,
    "Depooling": POOLING,
}
SWITCH_COLOUR, LOSS_COLOUR = "#a03c10", "#1f4e9c"
SWITCH_DASHES, LOSS_DASHES = (0, (4, 2)), (0, (1, 1.2))

UNPOOLING = {"SWITCH": "by switches", "FIX": "to the centre", "AVE": "evenly"}


@dataclass(frozen=True)
class _Box:
    """What is written in a box, and its height: that of its middle."""

    row: float
    name: str
    type: str
    detail: str
    switches: bool = False  # it unpools by them


@dataclass(frozen=True)
class _Level:
    """A macro-layer: its boxes in forward order, its decoder's in the same order (none
    above the decoded depth), and the height of the activation above them."""

    macro: MacroLayer
    boxes: tuple[_Box, ...]
    inverses: tuple[_Box, ...]
    top: float


def draw(network: Network, variant: Variant, depth: int, path: Path) -> None:
    """Writes the picture: an SVG whose text is text, a PNG or a PDF, by the suffix.

    Artists are named for who reads the SVG: box:<layer>, node:<blob>,
    switch:<pooling>, loss:<activation>, feed:<activation>, lateral:<activation>,
    classifier-loss:<scores>. Raises UserError where the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"--draw {path}: the file's name must end in {', '.join(FORMATS[:-1])} or"
            f" {FORMATS[-1]}."
        )
    if path.is_dir():
        raise UserError(f"--draw {path} is a folder; name a file in it.")
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise UserError(
            "--draw needs matplotlib, which this Python does not have; run"
            " tools/venv.sh once and then .venv/bin/python -m generator."
        ) from None
    settings = {"svg.fonttype": "none", "svg.hashsalt": "network"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # a user's name may hold characters that the font has not
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        _save(Picture(network, variant, depth).figure, path)


def _save(figure, path: Path) -> None:
    """The whole file or none."""
    kind = path.suffix.lower()[1:]
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    longest = max(figure.get_size_inches())
    dpi = min(PIXELS_PER_INCH, MAX_PIXELS / longest) if kind == "png" else None
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=".new-")
        os.close(handle)
        figure.savefig(
            temporary, format=kind, metadata=undated.get(kind), dpi=dpi or "figure"
        )
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"--draw {path} cannot be written: {error.strerror or error}; name a file"
            " in a folder of yours."
        ) from error
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


# --- what is drawn


def _levels(network: Network, variant: Variant, depth: int) -> list[_Level]:
    """The image is at -1; a row a box, a row an activation."""
    inverses: dict[int, list[_Box]] = {}
    if variant.has_decoder:
        build = ladder.decoder if variant.ladder else decoder
        sections = build(network, variant, depth, Decoding(None))[-depth:]
        for index, section in zip(range(depth, 0, -1), sections, strict=True):
            macro = network.macro_layers[index - 1]
            inverses[index] = list(_inverses(network, macro, section.layers))
    gap = 1.0 if variant.stacked or not variant.has_decoder else 1.0 + APART
    levels = []
    row = 0.0
    for index, macro in enumerate(network.macro_layers, start=1):
        boxes = list(_boxes((*macro.layers, *macro.passed), network.image.shape))
        rows = [row + offset for offset in range(len(boxes))]
        above = _at(rows[::-1], inverses.get(index, []))
        levels.append(_Level(macro, _at(rows, boxes), above[::-1], row + len(boxes)))
        row += len(boxes) + gap
    return levels


def _at(rows: list[float], boxes: list[_Box]) -> tuple[_Box, ...]:
    return tuple(replace(box, row=row) for row, box in zip(rows, boxes, strict=False))


def _inverses(
    network: Network, macro: MacroLayer, layers: Iterable[Layer]
) -> Iterator[_Box]:
    """A box for what undoes each box of the macro-layer, last one first."""
    boxes = list(_boxes(layers, macro.output.shape))
    undone = [layer for layer in reversed(macro.layers) if layer.type in BOXED]
    for layer in undone:
        several: tuple[Inverse, ...] = network.inverses.get(layer.name, ())
        if not several:
            yield boxes.pop(0)
            continue
        names = ", ".join(f"-{inverse.suffix}" for inverse in several)
        own, boxes = boxes[: len(several)], boxes[len(several) :]
        result = own[-1].detail.rpartition("→")[2].strip()
        yield _Box(0, f"dec:{layer.name}", own[-1].type, f"{names} → {result}")


def _boxes(layers: Iterable[Layer], shape: Shape) -> Iterator[_Box]:
    """A box for each layer that has one, with what follows it; shape: of what the
    first one reads."""
    groups: list[list[Layer]] = []
    for layer in layers:
        if layer.type in BOXED:
            groups.append([layer])
        elif groups:
            groups[-1].append(layer)
    for layer, *followers in groups:
        words = [_window_text(layer, shape)]
        words += [_SHORT.get(la.type, la.type) for la in followers if _told(la)]
        shape = layer.shape
        detail = f"{', '.join(filter(None, words))} → {shape_text(shape)}"
        switches = layer.type == "Depooling" and _pool(layer) == "SWITCH"
        yield _Box(0, layer.name, layer.type, detail.strip(), switches)


_SHORT = {"BatchNorm": "BN", "Dropout": "dropout"}


def _told(layer: Layer) -> bool:
    return layer.type in (*MIRRORED, *PASSED, "LRN", "MVN") and layer.type != "Flatten"


def _window_text(layer: Layer, shape: Shape) -> str:
    """11x11 / 4 for a window of 11x11 at stride 4, and how it pools or unpools."""
    try:
        if layer.type == "Pooling":
            return f"{_pool(layer)} {_window(pooling_window(layer, shape))}"
        if layer.type == "Depooling":
            how = UNPOOLING[_pool(layer)]
            if layer.fields["pooling_param"].get("global_pooling"):
                return f"global, {how}"
            return f"{_window(pooling_window(layer, shape))}, {how}"
        if layer.type != "InnerProduct":
            return _window(convolution_window(layer))
    except ShapeError:  # of a layer that is drawn, but not decoded
        return ""
    return ""


def _pool(layer: Layer) -> str:
    return str(layer.fields.get("pooling_param", {}).get("pool", "MAX"))


def _window(window: Window) -> str:
    text = shape_text(window.kernel)
    if window.stride != (1, 1):
        square = window.stride[0] == window.stride[1]
        text += f" / {window.stride[0] if square else shape_text(window.stride)}"
    return text


# --- how


class Picture:
    """figure: the whole picture, a matplotlib Figure."""

    def __init__(self, network: Network, variant: Variant, depth: int) -> None:
        self._network, self._variant, self._depth = network, variant, depth
        self._levels = _levels(network, variant, depth)
        # what decoders read, and what is reconstructed: the same encoder's but for a
        # ladder
        self._clean = 2 * COLUMN if variant.ladder else 0.0
        self._axes = self._page()
        if variant.ladder:
            self._encoder(0, NOISY, "noisy encoder", "classification loss (training)")
            self._encoder(
                self._clean, "", "clean encoder", "classification loss (test)"
            )
        else:
            self._encoder(0, "", "encoder", "classification loss")
        self._brackets()
        if variant.has_decoder:
            self._decode()
        self._legend()

    @property
    def figure(self):
        return self._axes.figure

    def _page(self):
        from matplotlib.figure import Figure

        variant = self._variant
        columns = 1 + variant.has_decoder + variant.ladder
        left, right = -3.5, (columns - 1) * COLUMN + 2.7
        bottom, above = -3.4, self._levels[-1].top + 2.8
        size = (right - left) * UNIT_INCHES, (above - bottom) * ROW_INCHES
        axes = Figure(figsize=size).add_axes((0, 0, 1, 1))
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, above)
        axes.axis("off")
        title = self._network.name
        if variant.has_decoder:
            title += f" {variant.name}, decoded from {self._depth}"
        self._axes = axes
        self._text(left + 0.2, above - 0.6, title, ha="left", size=10)
        return axes

    # --- columns

    def _encoder(self, x: float, prefix: str, heading: str, loss: str) -> None:
        """Boxes of every layer, the activations between them, the loss on top."""
        network = self._network
        image = network.image
        self._text(x, -1.75, heading, size=7.5)
        self._node(x, -1, f"{prefix}{image.name}", image.shape)
        start = -1 + NODE_HEIGHT / 2
        for level in self._levels:
            for box in level.boxes:
                self._box(x, box, prefix)
                self._arrow((x, start), (x, box.row - HEIGHT / 2))
                start = box.row + HEIGHT / 2
            self._arrow((x, start), (x, level.top - NODE_HEIGHT / 2))
            output = level.macro.output
            self._node(x, level.top, f"{prefix}{output.name}", output.shape)
            start = level.top + NODE_HEIGHT / 2
        if network.scores:
            gid = f"classifier-loss:{prefix}{network.scores.name}"
            self._arrow((x, start), (x, start + 0.7), gid)
            self._text(x, start + 0.95, loss)

    def _brackets(self) -> None:
        edge = -WIDTH / 2 - 0.18
        self._text(edge - 0.12, -0.35, "macro-layer", ha="right", size=6)
        for index, level in enumerate(self._levels, start=1):
            low = level.boxes[0].row - HEIGHT / 2
            high = level.boxes[-1].row + HEIGHT / 2
            self._axes.plot(
                [edge + 0.1, edge, edge, edge + 0.1],
                [low, low, high, high],
                color="black",
                lw=0.8,
                gid=f"bracket:{index}",
            )
            middle = (low + high) / 2
            self._text(edge - 0.12, middle, f"{index}", ha="right", size=8)

    def _decode(self) -> None:
        """Boxes at the encoder's heights, from the deepest activation down."""
        variant, x = self._variant, COLUMN
        self._text(x, -1.75, "decoder", size=7.5)
        if variant.ladder:
            top = self._network.activations[self._depth]
            self._node(x, self._row(self._depth), f"dec:{top.name}", top.shape)
        for index in range(self._depth, 0, -1):
            level = self._levels[index - 1]
            start = level.top - NODE_HEIGHT / 2
            first = level.inverses[-1].row + HEIGHT / 2
            if variant.ladder or (variant.stacked and index < self._depth):
                self._arrow((x, start), (x, first))
            else:
                self._feed(level, first)
            for box, pooled in zip(
                reversed(level.inverses), reversed(level.boxes), strict=True
            ):
                self._box(x, box, "")
                if box.row + HEIGHT / 2 < first:
                    self._arrow((x, start), (x, box.row + HEIGHT / 2))
                start = box.row - HEIGHT / 2
                if box.switches:
                    self._switch(pooled)
            self._reconstruction(index - 1, start)
        if variant.ladder:
            for index in range(self._depth + 1):
                self._lateral(index)
            self._loss(self._depth, self._row(self._depth))

    def _row(self, index: int) -> float:
        """The height of an activation; 0: the image."""
        return self._levels[index - 1].top if index else -1.0

    def _feed(self, level: _Level, first: float) -> None:
        """What a decoder begins with: the encoder's activation."""
        self._arrow(
            (NODE_WIDTH / 2, level.top),
            (COLUMN, first),
            f"feed:{level.macro.output.name}",
            connectionstyle="angle,angleA=0,angleB=90,rad=0",
            lw=1.0,
        )

    def _reconstruction(self, index: int, start: float) -> None:
        """Of an activation, below the boxes that yield it; its loss where it has one.

        A layerwise decoder ends there: the next one begins below."""
        variant, x = self._variant, COLUMN
        activation, row = self._network.activations[index], self._row(index)
        name = f"dec:{activation.name}"
        if not variant.stacked and index:
            row, name = row + APART, f"{name}[2]"
        self._arrow((x, start), (x, row + NODE_HEIGHT / 2))
        self._node(x, row, name, activation.shape)
        if variant.all_losses or index == 0:
            self._loss(index, row)

    # --- artists

    def _box(self, x: float, box: _Box, prefix: str) -> None:
        from matplotlib.patches import FancyBboxPatch

        name = f"{prefix}{box.name}"
        patch = FancyBboxPatch(
            (x - WIDTH / 2, box.row - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=FILLS[box.type],
            edgecolor="black",
            lw=0.7,
            zorder=3,
            gid=f"box:{name}",
        )
        self._axes.add_patch(patch)
        self._text(x, box.row + 0.17, _short(name, 28))
        self._text(x, box.row - 0.13, _short(box.detail, 42), size=5.5)

    def _node(self, x: float, y: float, name: str, shape: Shape) -> None:
        from matplotlib.patches import Ellipse

        patch = Ellipse(
            (x, y),
            NODE_WIDTH,
            NODE_HEIGHT,
            facecolor="white",
            edgecolor="black",
            lw=0.9,
            zorder=4,
            gid=f"node:{name}",
        )
        self._axes.add_patch(patch)
        label = f"{_short(name, 18)}  {shape_text(shape)}"
        if x == 0:
            self._text(x - 0.42, y, label, ha="right", size=6)
        elif x < self._clean:  # the loss's arrow goes to the right
            self._text(x + 0.36, y + 0.25, label, ha="left", size=6)
        else:
            self._text(x + 0.42, y, label, ha="left", size=6)

    def _text(
        self, x: float, y: float, text: str, ha: str = "center", size: float = 6.5
    ) -> None:
        self._axes.text(
            x,
            y,
            text,
            ha=ha,
            va="center_baseline",
            fontsize=size,
            zorder=5,
            parse_math=False,
        )

    def _arrow(self, start, end, gid: str | None = None, **style) -> None:
        from matplotlib.patches import FancyArrowPatch

        style = {"arrowstyle": "-|>", "lw": 0.8, "mutation_scale": 6} | style
        style = {"color": "black", "shrinkA": 0, "shrinkB": 0, "gid": gid} | style
        self._axes.add_patch(FancyArrowPatch(start, end, zorder=2, **style))

    def _switch(self, pooling: _Box) -> None:
        prefix = NOISY if self._variant.ladder else ""
        self._arrow(
            (WIDTH / 2, pooling.row),
            (COLUMN - WIDTH / 2, pooling.row),
            f"switch:{prefix}{pooling.name}",
            lw=1.0,
            ls=SWITCH_DASHES,
            color=SWITCH_COLOUR,
        )

    def _loss(self, index: int, row: float) -> None:
        """Between an activation and its reconstruction, which is at `row`."""
        side = NODE_WIDTH / 2 if self._clean < COLUMN else -NODE_WIDTH / 2
        lifted = NODE_HEIGHT / 4 if row > self._row(index) else 0.0
        self._arrow(
            (self._clean + side, self._row(index) + lifted),
            (COLUMN - side, row),
            f"loss:{self._network.activations[index].name}",
            arrowstyle="<|-|>",
            lw=1.2,
            ls=LOSS_DASHES,
            color=LOSS_COLOUR,
        )

    def _lateral(self, index: int) -> None:
        row, name = self._row(index), self._network.activations[index].name
        ends = (NODE_WIDTH / 2, row), (COLUMN - NODE_WIDTH / 2, row)
        self._arrow(*ends, f"lateral:{name}", lw=1.0)

    def _legend(self) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        variant = self._variant
        names = {
            "Convolution": ("convolution", "deconvolution"),
            "InnerProduct": ("inner product", ""),
            "Pooling": ("pooling", "unpooling"),
        }
        drawn = {box.type for level in self._levels for box in level.boxes}
        handles: list = []
        for kind, both in names.items():
            if kind in drawn:
                shown = both if variant.has_decoder else both[:1]
                label = ", ".join(filter(None, shown))
                handles.append(
                    Patch(facecolor=FILLS[kind], edgecolor="black", label=label)
                )
        switches = any(b.switches for level in self._levels for b in level.inverses)
        lines = [
            (switches, SWITCH_COLOUR, SWITCH_DASHES, "pooling switches"),
            (variant.has_decoder, LOSS_COLOUR, LOSS_DASHES, "reconstruction loss"),
            (variant.ladder, "black", "-", "lateral connection, to a combinator"),
        ]
        handles += [
            Line2D([], [], color=colour, ls=dashes, label=label)
            for wanted, colour, dashes, label in lines
            if wanted
        ]
        self._axes.legend(
            handles=handles,
            loc="lower left",
            ncols=3,
            frameon=False,
            fontsize=6,
            handlelength=2.6,
        )


def _short(text: str, length: int) -> str:
    """Without its middle, where it is long."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[:half]}…{text[-half:]}"
