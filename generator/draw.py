"""The picture of a network, after the paper's Figures 1 and 2.

Encoder from the image upwards, decoder beside it at equal heights, downwards. Of a
ladder: noisy encoder, decoder, clean encoder (Rasmus et al. 2015).
"""

import contextlib
import os
import tempfile
import warnings
from pathlib import Path

from . import names
from .diagram import APART, Box, Level, levels
from .errors import UserError
from .layers import Shape, shape_text
from .plotting import import_matplotlib
from .sequence import Network
from .variants import Variant

FORMATS = (".svg", ".png", ".pdf")

# The unit of the plane is a row: the height of a box and the gap above it.
ROW_INCHES = 0.36
UNIT_INCHES = 0.63  # of width
MAX_PIXELS = 2**16 - 1  # what Agg can draw, each way
PIXELS_PER_INCH = 110
COLUMN = 4.0  # from one column's middle to the next
WIDTH, HEIGHT = 2.9, 0.7  # of a box
NODE_WIDTH, NODE_HEIGHT = 0.62, 0.34  # of an activation's ellipse

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
        matplotlib = import_matplotlib()
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


class Picture:
    """figure: the whole picture, a matplotlib Figure."""

    def __init__(self, network: Network, variant: Variant, depth: int) -> None:
        self._network, self._variant, self._depth = network, variant, depth
        self._levels = levels(network, variant, depth)
        # what decoders read, and what is reconstructed: the same encoder's but for a
        # ladder
        self._clean = 2 * COLUMN if variant.ladder else 0.0
        self._axes = self._page()
        if variant.ladder:
            self._encoder(
                0, names.NOISY, "noisy encoder", "classification loss (training)"
            )
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
            self._node(x, self._row(self._depth), names.decoded(top.name), top.shape)
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
        """Returns the height of an activation; 0: the image."""
        return self._levels[index - 1].top if index else -1.0

    def _feed(self, level: Level, first: float) -> None:
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
        name = names.decoded(activation.name)
        if not variant.stacked and index:
            row, name = row + APART, names.layerwise(activation.name)
        self._arrow((x, start), (x, row + NODE_HEIGHT / 2))
        self._node(x, row, name, activation.shape)
        if variant.all_losses or index == 0:
            self._loss(index, row)

    # --- artists

    def _box(self, x: float, box: Box, prefix: str) -> None:
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

    def _switch(self, pooling: Box) -> None:
        prefix = names.NOISY if self._variant.ladder else ""
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
