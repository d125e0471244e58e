"""A slow, obvious interpreter of Caffe networks, to check what they compute.

Reads a NetParameter and computes in float64 with numpy. Shares nothing with Caffe but
the schema, and nothing at all with the generator, so that an agreement says something.

One function a layer type, each `(layer, bottoms, params, run) -> tops`; LAYERS says
which. Shapes in their docstrings: N images, C channels, H × W places. An axis named
`axis` may be negative, as in Caffe.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from caffe.proto import caffe_pb2
from caffe.proto.caffe_pb2 import (
    LayerParameter,
    LossParameter,
    NetParameter,
    NetStateRule,
    PoolingParameter,
)

Arrays = list[np.ndarray]
Params = dict[str, Arrays]
Blobs = dict[str, np.ndarray]

FLT_MAX = float(np.finfo(np.float32).max)
FLT_MIN = float(np.finfo(np.float32).tiny)
SMALLER_STEPS = 4  # ... each a tenth of the one before, before slope() gives up


@dataclass
class Run:
    """One forward pass: what it is told, and what it leaves behind.

    `choices` holds what every layer with a kink decided (signs, switches), in order:
    between two runs with equal choices the objective is smooth.
    """

    phase: int
    blobs: Blobs = field(default_factory=dict)
    objective: float = 0.0
    choices: Arrays = field(default_factory=list)


# Networks


def forward(net: NetParameter, params: Params, inputs: Blobs, phase: int) -> Blobs:
    """The final value of every blob, by name (what is computed in place overwrites).

    params: layer -> its parameters, in Caffe's order and shapes. Of parameters shared
        by `param { name }` the first layer's count; later ones may be missing.
    inputs: blob -> values, for the tops of all layers without bottoms (Input, Data,
        DummyData, ...) and for the network's own `input`s.
    phase: caffe.TRAIN or caffe.TEST; the level is 0, and there are no stages.

    Raises ValueError where the network can't be interpreted: an unknown layer type, a
    missing input or parameter, shapes that don't fit, random numbers in TRAIN.
    """
    return execute(net, params, inputs, phase).blobs


def objective(net: NetParameter, params: Params, inputs: Blobs, phase: int) -> float:
    """The sum of all tops, each times its loss_weight; arguments as in forward().

    As in Caffe, a type that ends in Loss has loss_weight 1 for its first top unless it
    says otherwise, any other top has 0.
    """
    return execute(net, params, inputs, phase).objective


def slope(
    net: NetParameter,
    params: Params,
    inputs: Blobs,
    phase: int,
    layer: str,
    blob_index: int,
    place: tuple[int, ...],
    step: float = 1e-5,
) -> float:
    """The objective's derivative in one parameter, by a central difference.

    The parameter is `params[layer][blob_index][place]` (where it is shared, moving it
    moves it in every layer), changed by ± `step`. If a choice of any layer (a pooling's
    switch, a ReLU's sign) differs between the two sides, a tenth of the step is tried,
    and so on; NaN means that there is a kink too close to measure a slope (or that a
    SoftmaxWithLoss is at its limit, see there).

    It is the true derivative: unlike Caffe's backward pass it knows no
    propagate_down or lr_mult, and BatchNorm's stored statistics have a slope, too.
    """
    layers = layers_in(net, phase)
    name, index = owners(layers).get((layer, blob_index), (layer, blob_index))
    if index >= len(params.get(name, [])):
        raise ValueError(f"Layer {name} has no parameter {index} to measure.")
    at = np.array(params[name][index], np.float64)

    def moved(value: float) -> Run:
        changed = at.copy()
        changed[place] = value
        blobs = list(params[name])
        blobs[index] = changed
        return execute(net, {**params, name: blobs}, inputs, phase)

    for _ in range(SMALLER_STEPS):
        high, low = at[place] + step, at[place] - step
        above, below = moved(high), moved(low)
        if all(map(np.array_equal, above.choices, below.choices)):
            return (above.objective - below.objective) / (high - low)
        step /= 10
    return float("nan")


def execute(net: NetParameter, params: Params, inputs: Blobs, phase: int) -> Run:
    """One pass through all layers; arguments as in forward()."""
    if net.layers:
        raise ValueError("Expected `layer`s; found old `layers`. Upgrade the network.")
    run = Run(phase)
    run.blobs = {name: given(inputs, name) for name in net.input}
    layers = layers_in(net, phase)
    owner = owners(layers)
    for layer in layers:
        if not layer.bottom:
            tops = [given(inputs, name) for name in layer.top]
        else:
            if layer.type not in LAYERS:
                raise ValueError(f"Layer {layer.name} has unknown type {layer.type}.")
            for name in layer.bottom:
                if name not in run.blobs:
                    raise ValueError(f"Layer {layer.name} reads {name} too early.")
            bottoms = [run.blobs[name] for name in layer.bottom]
            mine = parameters(layer, params, owner)
            tops = list(map(np.asarray, LAYERS[layer.type](layer, bottoms, mine, run)))
        # A layer may have results that its network doesn't name.
        run.blobs.update(zip(layer.top, tops, strict=False))
        for weight, top in zip(loss_weights(layer), tops, strict=False):
            run.objective += weight * top.sum()
    return run


def given(inputs: Blobs, name: str) -> np.ndarray:
    if name not in inputs:
        raise ValueError(f"Expected an input {name}; found {', '.join(inputs)}.")
    return np.array(inputs[name], np.float64)


def loss_weights(layer: LayerParameter) -> list[float]:
    if not layer.loss_weight and layer.type.endswith("Loss"):
        return [1.0]
    return list(layer.loss_weight)


def layers_in(net: NetParameter, phase: int) -> list[LayerParameter]:
    """The layers that Caffe would build, by their include and exclude rules."""

    def met(rule: NetStateRule) -> bool:
        return (
            (not rule.HasField("phase") or rule.phase == phase)
            and (not rule.HasField("min_level") or rule.min_level <= 0)
            and (not rule.HasField("max_level") or rule.max_level >= 0)
            and not rule.stage
        )

    return [
        layer
        for layer in net.layer
        if (any(map(met, layer.include)) or not layer.include)
        and not any(map(met, layer.exclude))
    ]


def owners(layers: list[LayerParameter]) -> dict[tuple[str, int], tuple[str, int]]:
    """(layer, index) of each named parameter -> the first that has its name."""
    first: dict[str, tuple[str, int]] = {}
    return {
        (layer.name, index): first.setdefault(spec.name, (layer.name, index))
        for layer in layers
        for index, spec in enumerate(layer.param)
        if spec.name
    }


def parameters(layer: LayerParameter, params: Params, owner: dict) -> Arrays:
    """The layer's parameters in float64, shared ones from where they belong."""
    result = []
    for index in range(max(len(params.get(layer.name, [])), len(layer.param))):
        name, there = owner.get((layer.name, index), (layer.name, index))
        if there >= len(params.get(name, [])):
            raise ValueError(f"Layer {layer.name} lacks parameter {index} of {name}.")
        result.append(np.array(params[name][there], np.float64))
    return result


# Windows


@dataclass(frozen=True)
class Axis:
    """How windows lie on one axis: window i covers i·stride − pad + k·dilation."""

    kernel: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    def starts(self, windows: int) -> np.ndarray:
        return np.arange(windows) * self.stride - self.pad

    def plane(self, windows: int) -> int:
        """The size that `windows` windows cover, without the padding."""
        return (windows - 1) * self.stride + self.extent - 2 * self.pad


Axes = tuple[Axis, Axis]


def convolution_axes(layer: LayerParameter, x: np.ndarray) -> Axes:
    param = layer.convolution_param
    if x.ndim != 4 or param.axis not in (1, -3):
        raise ValueError(f"Layer {layer.name}: only images (N × C × H × W) are known.")

    def both(name: str, default: int | None = None) -> list[int]:
        if f"{name}_h" in param.DESCRIPTOR.fields_by_name:
            pair = getattr(param, f"{name}_h"), getattr(param, f"{name}_w")
            if any(param.HasField(f"{name}_{side}") for side in "hw"):
                return list(pair)
        one = list(getattr(param, "kernel_size" if name == "kernel" else name))
        return one if len(one) == 2 else (one or [default]) * 2

    sizes = both("kernel"), both("stride", 1), both("pad", 0), both("dilation", 1)
    y, x_ = zip(*sizes, strict=True)
    return Axis(*y), Axis(*x_)


def pooling_axes(param: PoolingParameter, plane: tuple[int, int] | None) -> Axes:
    """`plane`: H, W, for global_pooling."""
    if param.global_pooling:
        return Axis(plane[0]), Axis(plane[1])

    def both(name: str, one: int) -> tuple[int, int]:
        two = param.HasField(f"{name}_h")
        pair = getattr(param, f"{name}_h"), getattr(param, f"{name}_w")
        return pair if two else (one, one)

    kernel = both("kernel", param.kernel_size)
    stride = both("stride", param.stride)
    pad = both("pad", param.pad)
    y, x = zip(kernel, stride, pad, strict=True)
    return Axis(*y), Axis(*x)


def pooled_size(param: PoolingParameter, axes: Axes, plane: tuple) -> tuple[int, int]:
    """How many windows pooling has on each axis of a plane of H, W."""
    sizes = []
    for axis, size in zip(axes, plane, strict=True):
        room = size + 2 * axis.pad - axis.kernel
        up = param.round_mode == PoolingParameter.CEIL
        windows = (-(-room // axis.stride) if up else room // axis.stride) + 1
        padded = any(either.pad for either in axes)
        if padded and (windows - 1) * axis.stride >= size + axis.pad:
            windows -= 1  # it would start beyond the plane
        sizes.append(windows)
    return tuple(sizes)


def average_sizes(axes: Axes, plane: tuple, windows: tuple) -> np.ndarray:
    """What average pooling divides by (h × w): padding counts, what lies beyond not."""
    sizes = []
    for axis, size, count in zip(axes, plane, windows, strict=True):
        start = axis.starts(count)
        sizes.append(np.minimum(start + axis.kernel, size + axis.pad) - start)
    return np.outer(*sizes)


def canvas(
    x: np.ndarray, axes: Axes, windows: tuple[int, int], fill: float = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A plane with room for all windows; and, as a view of it, where x lies."""
    y_axis, x_axis = axes
    height, width = x.shape[2:]
    size = [
        max(axis.pad + old, (count - 1) * axis.stride + axis.extent)
        for axis, old, count in zip(axes, (height, width), windows, strict=True)
    ]
    whole = np.full((*x.shape[:2], *size), fill, np.float64)
    rows = slice(y_axis.pad, y_axis.pad + height)
    columns = slice(x_axis.pad, x_axis.pad + width)
    whole[:, :, rows, columns] = x
    return whole, whole[:, :, rows, columns]


def taps(
    whole: np.ndarray, axes: Axes, windows: tuple[int, int]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Place in the window (row by row), and a view of it in all windows, N × C × h × w.

    `whole` is a canvas(); views of one place don't overlap, so they can be added to.
    """
    y, x = axes
    for i in range(y.kernel):
        rows = slice(i * y.dilation, i * y.dilation + (windows[0] - 1) * y.stride + 1)
        for j in range(x.kernel):
            end = j * x.dilation + (windows[1] - 1) * x.stride + 1
            view = whole[:, :, rows, j * x.dilation : end]
            yield i, j, view[:, :, :: y.stride, :: x.stride]


# Layers with weights


def convolution(layer, bottoms, params, run):
    """N × C × H × W -> N × O × h × w; weights O × C/group × kernel, bias O."""
    param = layer.convolution_param
    group = param.group
    tops = []
    for x in bottoms:
        axes = convolution_axes(layer, x)
        images, channels = x.shape[:2]
        h, w = windows = tuple(
            (size + 2 * axis.pad - axis.extent) // axis.stride + 1
            for axis, size in zip(axes, x.shape[2:], strict=True)
        )
        weights = params[0].reshape(
            group, param.num_output // group, channels // group, *kernel(axes)
        )
        y = np.zeros((images, group, param.num_output // group, h * w))
        whole, _ = canvas(x, axes, windows)
        for i, j, seen in taps(whole, axes, windows):
            seen = seen.reshape(images, group, channels // group, h * w)
            y += weights[..., i, j] @ seen
        y = y.reshape(images, param.num_output, h, w)
        tops.append(add_bias(y, param.bias_term, params))
    return tops


def deconvolution(layer, bottoms, params, run):
    """N × C × h × w -> N × O × H × W; weights C × O/group × kernel, bias O."""
    param = layer.convolution_param
    group = param.group
    tops = []
    for x in bottoms:
        axes = convolution_axes(layer, x)
        images, channels, h, w = x.shape
        size = [axis.plane(n) for axis, n in zip(axes, (h, w), strict=True)]
        weights = params[0].reshape(
            group, channels // group, param.num_output // group, *kernel(axes)
        )
        values = x.reshape(images, group, channels // group, h * w)
        blank = np.zeros((images, param.num_output, *size))
        whole, y = canvas(blank, axes, (h, w))
        for i, j, reached in taps(whole, axes, (h, w)):
            sent = weights[..., i, j].transpose(0, 2, 1) @ values
            reached += sent.reshape(reached.shape)
        tops.append(add_bias(y, param.bias_term, params))
    return tops


def kernel(axes: Axes) -> tuple[int, int]:
    return axes[0].kernel, axes[1].kernel


def add_bias(y: np.ndarray, bias_term: bool, params: Arrays) -> np.ndarray:
    """y: N × O × ...; the bias, if there is one, is the second parameter."""
    return y + along(params[1].reshape(-1), y, 1) if bias_term else y.copy()


def along(values: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """`values`, shaped to be broadcast over x from `axis` on."""
    axis %= x.ndim
    after = x.ndim - axis - values.ndim
    return values.reshape((1,) * axis + values.shape + (1,) * after)


def inner_product(layer, bottoms, params, run):
    """before × K -> before × O, K all axes from `axis` on; weights O × K (transpose:
    K × O), bias O."""
    param = layer.inner_product_param
    (x,) = bottoms
    before = x.shape[: param.axis % x.ndim]
    rows = x.reshape(int(np.prod(before)), -1)
    if param.transpose:
        weights = params[0].reshape(rows.shape[1], param.num_output)
    else:
        weights = params[0].reshape(param.num_output, rows.shape[1]).T
    y = rows @ weights
    if param.bias_term:
        y += params[1].reshape(-1)
    return [y.reshape(*before, param.num_output)]


def batch_norm(layer, bottoms, params, run):
    """N × C × ... -> the same; parameters mean C, variance C, and the factor that both
    are too large by (one value)."""
    param = layer.batch_norm_param
    (x,) = bottoms
    if param.HasField("use_global_stats"):
        stored = param.use_global_stats
    else:
        stored = run.phase == caffe_pb2.TEST
    if stored:
        factor = params[2].item()
        scale = 0 if factor == 0 else 1 / factor
        mean, variance = params[0] * scale, params[1] * scale
    else:
        others = (0, *range(2, x.ndim))
        mean, variance = x.mean(others), x.var(others)
    return [(x - along(mean, x, 1)) / np.sqrt(along(variance, x, 1) + param.eps)]


def scale(layer, bottoms, params, run):
    """x times a second bottom, or times a parameter, of x's axes from `axis` on; plus
    the next parameter, of the same shape, with bias_term."""
    param = layer.scale_param
    x = bottoms[0]
    factor, rest = operand(param, bottoms, params)
    y = x * along(factor, x, param.axis)
    if param.bias_term:
        y += along(rest[0].reshape(factor.shape), x, param.axis)
    return [y]


def bias(layer, bottoms, params, run):
    """x plus a second bottom, or plus a parameter, of x's axes from `axis` on."""
    summand, _ = operand(layer.bias_param, bottoms, params)
    return [bottoms[0] + along(summand, bottoms[0], layer.bias_param.axis)]


def operand(param, bottoms: Arrays, params: Arrays) -> tuple[np.ndarray, Arrays]:
    """What Scale and Bias apply, in its shape; and the parameters that are left."""
    if len(bottoms) > 1:
        return bottoms[1], params
    x = bottoms[0]
    start = param.axis % x.ndim
    end = x.ndim if param.num_axes == -1 else start + param.num_axes
    return params[0].reshape(x.shape[start:end]), params[1:]


# Pooling and its inverse


def pooling(layer, bottoms, params, run):
    """N × C × H × W -> N × C × h × w; MAX: and the switches, y·W + x, as many."""
    param = layer.pooling_param
    (x,) = bottoms
    axes = pooling_axes(param, x.shape[2:])
    windows = pooled_size(param, axes, x.shape[2:])
    if param.pool == PoolingParameter.MAX:
        values, switches = max_pooling(x, axes, windows)
        run.choices.append(switches)
        return [values, switches]
    if param.pool == PoolingParameter.AVE:
        return [average_pooling(x, axes, windows)]
    raise ValueError(f"Layer {layer.name}: only MAX and AVE pooling are known.")


def max_pooling(
    x: np.ndarray, axes: Axes, windows: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Maxima and their places; the first of equals, −1 where nothing is in a window."""
    values = np.full((*x.shape[:2], *windows), -FLT_MAX)
    switches = np.full(values.shape, -1.0)
    rows, columns = (axis.starts(n) for axis, n in zip(axes, windows, strict=True))
    whole, _ = canvas(x, axes, windows, fill=-np.inf)
    for i, j, seen in taps(whole, axes, windows):
        places = (rows[:, None] + i) * x.shape[3] + columns + j
        larger = seen > values
        values = np.where(larger, seen, values)
        switches = np.where(larger, places, switches)
    return values, switches


def average_pooling(x: np.ndarray, axes: Axes, windows: tuple) -> np.ndarray:
    whole, _ = canvas(x, axes, windows)
    total = sum(seen for _, _, seen in taps(whole, axes, windows))
    return total / average_sizes(axes, x.shape[2:], windows)


def depooling(layer, bottoms, params, run):
    """Values N × C × h × w [, switches, as many] [, a blob of H × W] -> N × C × H × W,
    and how many values (AVE: windows) landed on each place."""
    param = layer.pooling_param
    values, *rest = bottoms
    has_switches = param.pool in (PoolingParameter.MAX, PoolingParameter.SWITCH)
    switches = rest.pop(0) if has_switches else None
    shape = rest.pop().shape[2:] if rest else None
    windows = values.shape[2:]
    axes = pooling_axes(param, shape)
    if shape is None:
        shape = tuple(axis.plane(n) for axis, n in zip(axes, windows, strict=True))
    elif pooled_size(param, axes, shape) != windows:
        raise ValueError(
            f"Layer {layer.name}: {pooled_size(param, axes, shape)} values pool from "
            f"{shape}; found {windows}."
        )
    if param.pool == PoolingParameter.AVE:
        return spread_evenly(values, axes, shape)
    if param.pool == PoolingParameter.FIX:
        switches = np.broadcast_to(
            fixed_places(param, axes, windows, shape), values.shape
        )
    elif not has_switches:
        raise ValueError(f"Layer {layer.name}: STOCHASTIC pooling can't be undone.")
    places = switches.astype(np.int64)
    if (places != switches).any() or ((places < 0) | (places >= np.prod(shape))).any():
        raise ValueError(f"Layer {layer.name}: not all switches are places of {shape}.")
    return [put(what, places, shape) for what in (values, np.ones_like(values))]


def put(values: np.ndarray, places: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """N × C × h × w values, each added to its place of an empty N × C × H × W."""
    images, channels = values.shape[:2]
    planes = np.zeros((images * channels, shape[0] * shape[1]))
    plane = np.arange(images * channels)[:, None]
    flat = (images * channels, -1)
    np.add.at(planes, (plane, places.reshape(flat)), values.reshape(flat))
    return planes.reshape(images, channels, *shape)


def fixed_places(
    param: PoolingParameter, axes: Axes, windows: tuple, shape: tuple
) -> np.ndarray:
    """FIX: the place for each of h × w windows; the nearest that the plane has."""
    at = []
    for name, axis, count, size in zip("yx", axes, windows, shape, strict=True):
        own = param.HasField(f"fix_{name}")
        fix = getattr(param, f"fix_{name}") if own else param.fix
        fix = axis.kernel // 2 if fix == -1 else fix
        at.append(np.clip(axis.starts(count) + fix, 0, size - 1))
    return at[0][:, None] * shape[1] + at[1]


def spread_evenly(values: np.ndarray, axes: Axes, shape: tuple[int, int]) -> Arrays:
    """AVE: each value divided among its window; and how many windows cover a place."""
    windows = values.shape[2:]
    share = values / average_sizes(axes, shape, windows)
    tops = []
    for what in (share, np.ones_like(share)):
        blank = np.zeros((*values.shape[:2], *shape))
        whole, inside = canvas(blank, axes, windows)
        for _, _, reached in taps(whole, axes, windows):
            reached += what
        tops.append(inside.copy())
    return tops


# Element by element: any shape -> the same


def safe_inverse(layer, bottoms, params, run):
    """1/x, and 0 at 0."""
    (x,) = bottoms
    run.choices.append(np.sign(x))
    return [np.divide(1, x, out=np.zeros_like(x), where=x != 0)]


def relu(layer, bottoms, params, run):
    """x, or negative_slope · x below 0."""
    (x,) = bottoms
    run.choices.append(x > 0)
    return [np.where(x > 0, x, layer.relu_param.negative_slope * x)]


def prelu(layer, bottoms, params, run):
    """x, or a · x below 0; the parameter a is C, or one value (channel_shared)."""
    (x,) = bottoms
    a = params[0].reshape(1 if layer.prelu_param.channel_shared else x.shape[1])
    run.choices.append(x > 0)
    return [np.where(x > 0, x, along(a, x, 1) * x)]


def elu(layer, bottoms, params, run):
    """x, or alpha · (eˣ − 1) below 0."""
    (x,) = bottoms
    run.choices.append(x > 0)
    return [np.where(x > 0, x, layer.elu_param.alpha * np.expm1(np.minimum(x, 0)))]


def tanh(layer, bottoms, params, run):
    return [np.tanh(bottoms[0])]


def sigmoid(layer, bottoms, params, run):
    return [np.exp(-np.logaddexp(0, -bottoms[0]))]


def bnll(layer, bottoms, params, run):
    """log(1 + eˣ)"""
    return [np.logaddexp(0, bottoms[0])]


def power(layer, bottoms, params, run):
    """(shift + scale · x) ^ power"""
    param = layer.power_param
    return [(param.shift + param.scale * bottoms[0]) ** param.power]


def dropout(layer, bottoms, params, run):
    """The identity; in TRAIN only if nothing is dropped."""
    if run.phase == caffe_pb2.TRAIN and layer.dropout_param.dropout_ratio != 0:
        raise ValueError(f"Layer {layer.name} drops values at random in TRAIN.")
    return [bottoms[0].copy()]


def gaussian_noise(layer, bottoms, params, run):
    """The identity; in TRAIN only if the noise's std is 0."""
    if run.phase == caffe_pb2.TRAIN and layer.gaussian_noise_param.std != 0:
        raise ValueError(f"Layer {layer.name} adds random noise in TRAIN.")
    return [bottoms[0].copy()]


def eltwise(layer, bottoms, params, run):
    """Product, weighted sum or maximum of blobs of one shape."""
    param = layer.eltwise_param
    if any(x.shape != bottoms[0].shape for x in bottoms):
        raise ValueError(f"Layer {layer.name}: the bottoms' shapes differ.")
    if param.operation == param.PROD:
        return [np.prod(bottoms, axis=0)]
    if param.operation == param.SUM:
        coefficients = param.coeff or [1] * len(bottoms)
        terms = zip(coefficients, bottoms, strict=True)
        return [sum(coefficient * x for coefficient, x in terms)]
    run.choices.append(np.argmax(bottoms, axis=0))
    return [np.max(bottoms, axis=0)]


# Normalization


def lrn(layer, bottoms, params, run):
    """N × C × H × W -> the same: x · (k + alpha · mean of x² around it) ^ −beta.

    Around it: local_size channels; or, WITHIN_CHANNEL, a square of local_size², where
    Caffe ignores k and puts 1.
    """
    param = layer.lrn_param
    (x,) = bottoms
    reach = (param.local_size - 1) // 2
    if param.norm_region == param.WITHIN_CHANNEL:
        axis = Axis(param.local_size, 1, reach)
        mean = average_pooling(x**2, (axis, axis), x.shape[2:])
        return [x * (1 + param.alpha * mean) ** -param.beta]
    channels = x.shape[1]
    squares = np.pad(x**2, [(0, 0), (reach, reach), (0, 0), (0, 0)])
    total = sum(squares[:, i : i + channels] for i in range(param.local_size))
    return [x * (param.k + param.alpha / param.local_size * total) ** -param.beta]


def softmax(layer, bottoms, params, run):
    """Any shape -> the same, positive and summing to 1 over `axis`."""
    (x,) = bottoms
    axis = layer.softmax_param.axis
    y = np.exp(x - x.max(axis, keepdims=True))
    return [y / y.sum(axis, keepdims=True)]


# Shapes


def flatten(layer, bottoms, params, run):
    """The axes from `axis` to `end_axis` (included) become one."""
    (x,) = bottoms
    start = layer.flatten_param.axis % x.ndim
    end = layer.flatten_param.end_axis % x.ndim + 1
    return [x.reshape(*x.shape[:start], np.prod(x.shape[start:end]), *x.shape[end:])]


def reshape(layer, bottoms, params, run):
    """`num_axes` axes (−1: all) from `axis` on become `shape`, 0 copies, −1 is left."""
    param = layer.reshape_param
    (x,) = bottoms
    start = param.axis if param.axis >= 0 else x.ndim + param.axis + 1
    end = x.ndim if param.num_axes == -1 else start + param.num_axes
    new = [size or x.shape[start + i] for i, size in enumerate(param.shape.dim)]
    return [x.reshape(*x.shape[:start], *new, *x.shape[end:])]


def concat(layer, bottoms, params, run):
    """Blobs that differ in `axis` alone -> one."""
    param = layer.concat_param
    old = param.HasField("concat_dim")
    return [np.concatenate(bottoms, param.concat_dim if old else param.axis)]


def slice_(layer, bottoms, params, run):
    """One blob, cut along `axis` at slice_point or into equal parts -> as many tops."""
    param = layer.slice_param
    (x,) = bottoms
    axis = param.slice_dim if param.HasField("slice_dim") else param.axis
    cuts = list(param.slice_point) or len(layer.top)
    return [part.copy() for part in np.split(x, cuts, axis)]


def crop(layer, bottoms, params, run):
    """From `axis` on, the size of the second bottom, starting at offset."""
    param = layer.crop_param
    x, like = bottoms
    start = param.axis % x.ndim
    offsets = list(param.offset) or [0]
    if len(offsets) == 1:
        offsets *= x.ndim - start
    ends = [
        offset + size for offset, size in zip(offsets, like.shape[start:], strict=True)
    ]
    if any(end > size for end, size in zip(ends, x.shape[start:], strict=True)):
        raise ValueError(f"Layer {layer.name} crops {x.shape} beyond its end.")
    cut = [slice(*ends) for ends in zip(offsets, ends, strict=True)]
    return [x[(slice(None),) * start + tuple(cut)].copy()]


def split(layer, bottoms, params, run):
    """One blob -> as many equal ones as there are tops."""
    return [bottoms[0].copy() for _ in layer.top]


def nothing(layer, bottoms, params, run):
    """Silence, ImageOutput: bottoms that are not computed with, no tops."""
    return []


# Losses: scalars of shape ()


def euclidean_loss(layer, bottoms, params, run):
    """Two blobs of N × ... -> 1/(2N) · the sum of their squared differences."""
    x, target = bottoms
    difference = x - target.reshape(x.shape)
    return [np.sum(difference**2) / (2 * len(x))]


def softmax_loss(layer, bottoms, params, run):
    """Scores outer × C × inner, labels outer × inner -> the mean of −log p(label); C is
    `axis`. (This Caffe can't build one with its second top, the probabilities.)

    Caffe takes the smallest float for any smaller p, but its gradient doesn't know: no
    slope is measured there.
    """
    (probabilities,) = softmax(layer, bottoms[:1], params, run)
    axis = layer.softmax_param.axis % probabilities.ndim
    rows, labels, valid = classified(probabilities, bottoms[1], axis, layer.loss_param)
    p = rows[np.arange(len(rows)), labels][valid]
    run.choices.append(np.where(p < FLT_MIN, np.nan, 0))  # NaN differs from itself
    total = -np.log(np.maximum(p, FLT_MIN)).sum()
    outer = int(np.prod(probabilities.shape[:axis]))
    mode = normalization(layer.loss_param, LossParameter.VALID)
    return [total / normalizer(mode, outer, valid)]


def classified(
    scores: np.ndarray, labels: np.ndarray, axis: int, param
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows × C scores, rows labels, and which of the rows are not to be ignored."""
    rows = np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])
    labels = labels.astype(np.int64).reshape(len(rows))
    ignored = param.HasField("ignore_label") & (labels == param.ignore_label)
    known = (labels >= 0) & (labels < rows.shape[1])
    if not (known | ignored).all():
        raise ValueError(f"Expected labels of {rows.shape[1]} classes; found others.")
    return rows, np.where(ignored, 0, labels), ~ignored


def normalization(param: LossParameter, default: int) -> int:
    if param.HasField("normalization"):
        return param.normalization
    if param.HasField("normalize"):
        return LossParameter.VALID if param.normalize else LossParameter.BATCH_SIZE
    return default


def normalizer(mode: int, outer: int, valid: np.ndarray) -> float:
    """What a loss is divided by: `outer` images, each with terms valid or not."""
    count = {
        LossParameter.FULL: valid.size,
        LossParameter.VALID: valid.sum(),
        LossParameter.BATCH_SIZE: outer,
        LossParameter.NONE: 1,
    }[mode]
    return max(1, count)


def sigmoid_loss(layer, bottoms, params, run):
    """Scores x and targets t, N × ... -> the sum of −t log σ(x) − (1−t) log(1−σ(x)),
    divided by N unless `normalization` says otherwise."""
    x, target = bottoms[0], bottoms[1].reshape(bottoms[0].shape)
    param = layer.loss_param
    valid = np.full(x.shape, True)
    if param.HasField("ignore_label"):
        valid = target.astype(np.int64) != param.ignore_label
    total = (np.logaddexp(0, x) - x * target)[valid].sum()
    mode = normalization(param, LossParameter.BATCH_SIZE)
    return [total / normalizer(mode, len(x), valid)]


def hinge_loss(layer, bottoms, params, run):
    """Scores N × ..., labels N -> 1/N · the sum of max(0, 1 ∓ score), − for the label;
    squared with norm L2."""
    param = layer.hinge_loss_param
    scores = bottoms[0].reshape(len(bottoms[0]), -1)
    sign = np.ones_like(scores)
    sign[np.arange(len(scores)), bottoms[1].astype(np.int64).reshape(-1)] = -1
    margins = np.maximum(0, 1 + sign * scores)
    run.choices.append(margins > 0)
    terms = margins if param.norm == param.L1 else margins**2
    return [terms.sum() / len(scores)]


def accuracy(layer, bottoms, params, run):
    """Scores outer × C × inner, labels outer × inner -> the share of labels that are
    among the top_k (a tie counts against them); and the share of each class, C."""
    param = layer.accuracy_param
    scores, labels = bottoms
    rows, labels, valid = classified(scores, labels, param.axis % scores.ndim, param)
    own = rows[np.arange(len(rows)), labels]
    others = (rows >= own[:, None]).sum(1) - 1
    right = (others < param.top_k) & valid
    classes = rows.shape[1]
    of_class = np.bincount(labels[valid], minlength=classes)
    right_of_class = np.bincount(labels[right], minlength=classes)
    share = right.sum() / max(1, valid.sum())
    return [share, right_of_class / np.maximum(1, of_class)]


LAYERS: dict[str, Callable[[LayerParameter, Arrays, Arrays, Run], Arrays]] = {
    "Accuracy": accuracy,
    "BNLL": bnll,
    "BatchNorm": batch_norm,
    "Bias": bias,
    "Concat": concat,
    "Convolution": convolution,
    "Crop": crop,
    "Deconvolution": deconvolution,
    "Depooling": depooling,
    "Dropout": dropout,
    "ELU": elu,
    "Eltwise": eltwise,
    "EuclideanLoss": euclidean_loss,
    "Flatten": flatten,
    "GaussianNoise": gaussian_noise,
    "HingeLoss": hinge_loss,
    "ImageOutput": nothing,
    "InnerProduct": inner_product,
    "LRN": lrn,
    "PReLU": prelu,
    "Pooling": pooling,
    "Power": power,
    "ReLU": relu,
    "Reshape": reshape,
    "SafeInv": safe_inverse,
    "Scale": scale,
    "Sigmoid": sigmoid,
    "SigmoidCrossEntropyLoss": sigmoid_loss,
    "Silence": nothing,
    "Slice": slice_,
    "Softmax": softmax,
    "SoftmaxWithLoss": softmax_loss,
    "Split": split,
    "TanH": tanh,
}
