"""The picture of a network, after the paper's Figures 1 and 2.

Encoder from the image upwards, decoder beside it at equal heights, downwards. Of a
ladder: noisy encoder, decoder, clean encoder (Rasmus et al. 2015).
"""

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .layers import Layer, shape_text
from .mirror import BOUNDING, NORMALISING
from .sequence import WEIGHTED, MacroLayer, Network
from .variants import Variant

FORMATS = (".svg", ".png", ".pdf")
INCHES = 0.36  # of height, a row
MAX_INCHES = 400  # of height, the picture
COLUMN = 4.0  # from one column's middle to the next
WIDTH, HEIGHT = 2.9, 0.7  # of a box, in rows
FILLS = {
    "Convolution": "#c3d7ee",
    "InnerProduct": "#cfe8c6",
    "Pooling": "#f6c58f",
}
"""Light enough for black text, of different lightness in grey."""


@dataclass(frozen=True)
class _Place:
    """Rows of a macro-layer's boxes, by layer name, and of the activation above."""

    macro: MacroLayer
    rows: dict[str, float]
    activation: float


def draw(network: Network, variant: Variant, depth: int, path: Path) -> None:
    """Writes the picture; UserError where the file cannot be one.

    Artists are named for who reads the SVG: box:<layer>, box:dec:<layer>,
    switch:<pooling>, loss:<activation>, feed:<activation>, lateral:<activation>.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--draw {path}: a {', '.join(FORMATS)} file is expected.")
    if path.is_dir():
        raise UserError(f"--draw {path} is a folder; name a file in it.")
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise UserError(
            "this Python has no matplotlib: run tools/venv.sh once, and then"
            " .venv/bin/python -m generator …"
        ) from None
    settings = {"svg.fonttype": "none", "svg.hashsalt": "network", "font.size": 7}
    with matplotlib.rc_context(settings):
        figure = _Picture(network, variant, depth).figure
        _save(figure, path)


def _save(figure, path: Path) -> None:
    """The whole file or none."""
    kind = path.suffix.lower()[1:]
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=".new-")
        os.close(handle)
        figure.savefig(temporary, format=kind, metadata=metadata, dpi=110)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"--draw {path}: {error.strerror or error}.") from error
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


class _Picture:
    def __init__(self, network: Network, variant: Variant, depth: int) -> None:
        self._network, self._variant, self._depth = network, variant, depth
        self._places = _rows(network)
        self._decoder = COLUMN
        columns = (2 if variant.has_decoder else 1) + variant.ladder
        top = self._places[-1].activation + (1.4 if network.scores else 0)
        self._axes = self._page(columns, top)
        self._encoder(0, "noisy:" if variant.ladder else "", brackets=True)
        if variant.ladder:
            self._encoder(2 * COLUMN, "", brackets=False)
        if variant.has_decoder:
            self._decode()
        self._legend(top)

    @property
    def figure(self):
        return self._axes.figure

    def _page(self, columns: int, top: float):
        from matplotlib.figure import Figure

        left, bottom, right, above = -3.4, -2.3, (columns - 1) * COLUMN + 2.0, top + 1.9
        height = (above - bottom) * INCHES
        scale = min(1.0, MAX_INCHES / height)
        size = ((right - left) * INCHES * 1.75, height * scale)
        figure = Figure(figsize=size)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, above)
        axes.axis("off")
        title = f"{self._network.name}"
        if self._variant.has_decoder:
            title += f" {self._variant.name}, decoded from {self._depth}"
        axes.text(left + 0.2, above - 0.5, title, fontsize=10, va="center")
        return axes

    # --- columns

    def _encoder(self, x: float, prefix: str, brackets: bool) -> None:
        """Boxes of every layer, the activations between them."""
        network = self._network
        image = network.image
        self._node(x, -1, f"{prefix}{image.name}", shape_text(image.shape))
        below = -1.0
        for index, place in enumerate(self._places, start=1):
            for name, row in place.rows.items():
                layer = next(la for la in place.macro.layers if la.name == name)
                text = _companions(place.macro, layer)
                self._box(x, row, f"{prefix}{name}", layer, text)
                self._arrow((x, below), (x, row))
                below = row
            output = place.macro.output
            top = place.activation
            self._arrow((x, below), (x, top))
            self._node(x, top, f"{prefix}{output.name}", shape_text(output.shape))
            below = top
            if brackets:
                self._bracket(x, index, place)
        if network.scores:
            self._loss_box(x, below)

    def _decode(self) -> None:
        """Boxes at the encoder's heights, from the deepest activation down."""
        variant, x = self._variant, self._decoder
        ladder = "noisy:" if variant.ladder else ""
        for index in range(self._depth, 0, -1):
            place = self._places[index - 1]
            output = place.macro.output
            top = place.activation
            starts = index == self._depth or not variant.stacked
            if variant.ladder and index == self._depth:
                self._node(x, top, f"dec:{output.name}", "")
            if starts and not variant.ladder:
                options = {"arrowstyle": "-|>", "lw": 0.9, "mutation_scale": 7}
                ends = (0.34, top), (x - 0.28, top)
                self._annotate(*ends, f"feed:{output.name}", options)
                self._node(x, top, f"feed:dec:{output.name}", "", small=True)
            above = (x, top)
            for name, row in reversed(place.rows.items()):
                layer = next(la for la in place.macro.layers if la.name == name)
                self._box(x, row, f"dec:{_undone(layer)}", layer, "", decodes=True)
                self._arrow(above, (x, row))
                above = (x, row)
                if (
                    layer.type == "Pooling"
                    and variant.switches
                    and _has_switches(layer)
                ):
                    self._switch(layer, row, ladder)
            self._reconstruction(index, above)
        if variant.ladder:
            for index in range(self._depth + 1):
                self._lateral(index)

    def _reconstruction(self, index: int, above: tuple[float, float]) -> None:
        """The activation below a decoder, and its loss where it has one."""
        variant, x = self._variant, self._decoder
        below = self._network.activations[index - 1]
        row = -1.0 if index == 1 else self._places[index - 2].activation
        separate = not variant.stacked and index > 1
        shift = 0.36 if separate else 0.0
        name = f"dec:{below.name}" + ("[2]" if separate else "")
        self._arrow(above, (x, row + shift))
        self._node(x, row + shift, name, "", small=separate)
        if variant.all_losses or index == 1:
            self._loss(below.name, row + shift)

    # --- what they are made of

    def _box(
        self, x: float, y: float, name: str, layer: Layer, text: str, decodes=False
    ) -> None:
        from matplotlib.patches import FancyBboxPatch

        patch = FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=FILLS[layer.type],
            edgecolor="black",
            lw=0.7,
            zorder=3,
        )
        patch.set_gid(f"box:{name}")
        self._axes.add_patch(patch)
        given = self._network.inverses.get(layer.name, ())
        detail = _inverse_detail(layer) if decodes else _detail(layer)
        if decodes and given:
            detail = ", ".join(f"-{inverse.suffix}" for inverse in given)
        detail = ", ".join(filter(None, (detail, text)))
        self._text(x, y + 0.13, _short(name, 30))
        self._text(x, y - 0.17, _short(detail, 40), size=5.5, colour="#333333")

    def _node(
        self, x: float, y: float, name: str, shape: str, small: bool = False
    ) -> None:
        from matplotlib.patches import Ellipse

        hidden = name.startswith("feed:")
        size = (0.5, 0.24) if small else (0.62, 0.34)
        patch = Ellipse((x, y), *size, facecolor="white", edgecolor="black", lw=0.9)
        patch.set_zorder(4)
        patch.set_gid(f"node:{name}")
        self._axes.add_patch(patch)
        if hidden:
            return
        label = f"{_short(name, 22)}  {shape}".rstrip()
        if x == 0:
            self._text(x - 0.42, y + 0.02, label, ha="right", size=6)
        elif self._variant.ladder and x == self._decoder:
            self._text(x + 0.36, y + 0.24, label, ha="left", size=6)
        else:
            self._text(x + 0.42, y + 0.02, label, ha="left", size=6)

    def _text(self, x, y, text, ha="center", size=6.5, colour="black") -> None:
        self._axes.text(
            x, y, text, ha=ha, va="center", fontsize=size, color=colour, zorder=5
        )

    def _arrow(self, start, end, gid: str | None = None, **style) -> None:
        (x0, y0), (x1, y1) = start, end
        step = 0.36 if y1 > y0 else -0.36
        if x0 == x1:
            y0, y1 = y0 + step * 0.6, y1 - step
        options = {"arrowstyle": "-|>", "lw": 0.8, "mutation_scale": 7} | style
        self._annotate((x0, y0), (x1, y1), gid, options)

    def _annotate(self, start, end, gid: str | None, options: dict) -> None:
        from matplotlib.patches import FancyArrowPatch

        patch = FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, zorder=2, **options)
        if gid:
            patch.set_gid(gid)
        self._axes.add_patch(patch)

    def _switch(self, layer: Layer, row: float, prefix: str) -> None:
        start = (WIDTH / 2, row)
        end = (self._decoder - WIDTH / 2, row)
        options = {"arrowstyle": "-|>", "lw": 1.0, "ls": (0, (4, 2))}
        options |= {"mutation_scale": 8, "color": "#b3541e"}
        self._annotate(start, end, f"switch:{prefix}{layer.name}", options)

    def _loss(self, name: str, row: float) -> None:
        target = 2 * COLUMN if self._variant.ladder else 0.0
        side = 0.34 if target < self._decoder else -0.34
        options = {"arrowstyle": "<|-|>", "lw": 1.0, "ls": ":", "mutation_scale": 7}
        options |= {"color": "#1f4e9c"}
        start, end = (target + side, row), (self._decoder - side, row)
        self._annotate(start, end, f"loss:{name}", options)

    def _lateral(self, index: int) -> None:
        row = -1.0 if index == 0 else self._places[index - 1].activation
        name = self._network.activations[index].name
        if index == self._depth:
            self._loss(name, row)
        options = {"arrowstyle": "-|>", "lw": 1.0, "mutation_scale": 8}
        start, end = (0.34, row), (self._decoder - 0.34, row)
        self._annotate(start, end, f"lateral:{name}", options)

    def _loss_box(self, x: float, below: float) -> None:
        self._arrow((x, below), (x, below + 1.4))
        self._text(x, below + 1.4, "classification loss", size=6.5)

    def _bracket(self, x: float, index: int, place: _Place) -> None:
        rows = list(place.rows.values())
        low, high = min(rows) - HEIGHT / 2, max(rows) + HEIGHT / 2
        edge = x - WIDTH / 2 - 0.18
        self._axes.plot(
            [edge + 0.1, edge, edge, edge + 0.1],
            [low, low, high, high],
            color="black",
            lw=0.8,
        )
        self._text(edge - 0.12, (low + high) / 2, f"{index}", ha="right", size=8)

    def _legend(self, top: float) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        variant = self._variant
        names = {
            "Convolution": "convolution",
            "InnerProduct": "inner product",
            "Pooling": "pooling",
        }
        drawn = {la.type for place in self._places for la in place.macro.layers}
        handles = [
            Patch(facecolor=colour, edgecolor="black", label=f"{names[kind]}, inverse")
            for kind, colour in FILLS.items()
            if kind in drawn
        ]
        if variant.switches:
            handles.append(
                Line2D([], [], color="#b3541e", ls=(0, (4, 2)), label="switches")
            )
        if variant.has_decoder:
            handles.append(
                Line2D([], [], color="#1f4e9c", ls=":", label="reconstruction loss")
            )
        if variant.ladder:
            handles.append(Line2D([], [], color="black", label="lateral connection"))
        self._axes.legend(
            handles=handles,
            loc="lower left",
            ncols=3,
            frameon=False,
            fontsize=6,
            handlelength=2.6,
        )


def _rows(network: Network) -> list[_Place]:
    """Heights: the image at -1, a row a box, a row an activation."""
    places = []
    row = 0.0
    for macro in network.macro_layers:
        rows = {}
        for layer in macro.layers:
            if layer.type in (*WEIGHTED, "Pooling"):
                rows[layer.name] = row
                row += 1
        places.append(_Place(macro, rows, row))
        row += 1
    return places


def _undone(layer: Layer) -> str:
    if layer.type == "Pooling":
        return f"{layer.name.removesuffix('/pool')}/unpool"
    return layer.name


def _has_switches(layer: Layer) -> bool:
    return layer.fields.get("pooling_param", {}).get("pool", "MAX") == "MAX"


def _companions(macro: MacroLayer, layer: Layer) -> str:
    """Activation function and normalisation between a layer and the next box."""
    names = []
    place = macro.layers.index(layer)
    for follower in macro.layers[place + 1 :]:
        if follower.type in (*WEIGHTED, "Pooling"):
            break
        if follower.type in (*BOUNDING, *NORMALISING, "LRN"):
            names.append(follower.type)
    return ", ".join(names)


def _detail(layer: Layer) -> str:
    """96, 11x11 / 4 for 96 kernels of 11x11 at stride 4."""
    if layer.type == "InnerProduct":
        return f"{layer.shape[0]}"
    kind = "convolution_param" if layer.type == "Convolution" else "pooling_param"
    fields = layer.fields.get(kind, {})
    if fields.get("global_pooling"):
        return f"{fields.get('pool', 'MAX')}, global"
    kernel, stride = _sides(fields, "kernel"), _sides(fields, "stride")
    text = "x".join(map(str, kernel * 2 if len(kernel) == 1 else kernel))
    if stride and set(stride) != {1}:
        text += " / " + "x".join(map(str, stride))
    head = f"{layer.shape[0]}" if kind == "convolution_param" else None
    head = head or str(fields.get("pool", "MAX"))
    return f"{head}, {text}"


def _sides(fields: dict, what: str) -> list[int]:
    value = fields.get("kernel_size" if what == "kernel" else what)
    if value is None:
        both = (fields.get(f"{what}_h"), fields.get(f"{what}_w"))
        return [side for side in both if side]
    return list(value) if isinstance(value, list) else [value]


def _inverse_detail(layer: Layer) -> str:
    names = {
        "Convolution": "deconvolution",
        "InnerProduct": "inner product",
        "Pooling": "unpooling",
    }
    return names[layer.type]


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
