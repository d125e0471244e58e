"""Random sequential networks: mirrored, loaded by the fork, and kept as they are."""

import os
import tempfile
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf import text_format
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from generator.stages import plan
from generator.user_network import GROUPS, Options, read_user_network
from generator.variants import VARIANTS
from tests.helpers import loading

EXAMPLES = int(os.environ.get("RANDOM_NETWORKS", "100"))
"""More of them, and other ones, by RANDOM_NETWORKS=2000."""

FUNCTIONS = {
    "ReLU": ("", "relu_param { negative_slope: 0.1 }"),
    "PReLU": ("", "prelu_param { channel_shared: true }"),
    "ELU": ("", "elu_param { alpha: 0.5 }"),
    "TanH": ("",),
    "Sigmoid": ("",),
    "BNLL": ("",),
}
UNDOABLE = {
    "Dropout": ("", "dropout_param { dropout_ratio: 0.2 }"),
    "Power": ("power_param { scale: 0.5 shift: 1 }",),
}
NORMALISATIONS = {
    "BatchNorm": ("", "batch_norm_param { eps: 0.001 }"),
    "Scale": ("", "scale_param { bias_term: true }"),
    "Bias": ("",),
}
PLANAR = {
    "LRN": (
        "lrn_param { local_size: 3 }",
        "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }",
    ),
    "MVN": ("",),
}


@dataclass
class Written:
    """A network file as it grows: its text, and the shape of its last blob."""

    shape: tuple[int, ...]
    blob: str = "data"
    lines: list[str] = field(default_factory=list)

    def layer(self, kind: str, rest: str, shape=None, in_place=False) -> None:
        name = f"{kind.lower()}{len(self.lines)}"
        top = self.blob if in_place else name
        self.lines.append(
            f'layer {{ name: "{name}" type: "{kind}" bottom: "{self.blob}"'
            f' top: "{top}" {rest} }}'
        )
        self.blob, self.shape = top, shape or self.shape


@st.composite
def windows(draw, length: int, pooling: bool, dilation: int = 1):
    """(kernel, stride, pad) along an axis, such that something is left, and the places
    that are left."""
    kernel = draw(st.integers(1, min(5, length)))
    if dilation * (kernel - 1) + 1 > length:
        kernel = 1
    stride = draw(st.integers(1, 4))
    pad = draw(st.integers(0, kernel - 1 if pooling else 2))
    extent = dilation * (kernel - 1) + 1
    steps = (length + 2 * pad - extent) / stride
    count = (ceil(steps) if pooling else int(steps)) + 1
    return kernel, stride, pad, count


def two(first: tuple, second: tuple, rectangular: bool) -> str:
    """The fields of a window."""
    names = ("kernel", "stride", "pad")
    if rectangular:
        return " ".join(
            f"{n}_h: {a} {n}_w: {b}"
            for n, a, b in zip(names, first, second, strict=False)
        )
    kernel, stride, pad, _ = first
    return f"kernel_size: {kernel} stride: {stride} pad: {pad}"


@st.composite
def networks(draw) -> tuple[str, tuple[int, ...]]:
    """The text of a network, and the shape of its images."""
    image = draw(st.tuples(st.integers(1, 3), st.integers(1, 24), st.integers(1, 24)))
    if draw(st.integers(0, 9)) == 0:
        image = (draw(st.integers(1, 24)),)
    net = Written(image)
    if draw(st.integers(0, 5)) == 0:
        net.layer("Power", "power_param { scale: 0.5 }")
    if len(image) == 3:
        for _ in range(draw(st.integers(0, 3))):
            group(draw, net)
        if draw(st.booleans()) and len(net.lines) > 1:
            net.layer("Flatten", "", (net.shape[0] * net.shape[1] * net.shape[2],))
    weighted = any('"Convolution"' in line for line in net.lines)
    for _ in range(draw(st.integers(0 if weighted else 1, 2))):
        units = draw(st.integers(1, 9))
        more = draw(st.sampled_from(["", "bias_term: false", "transpose: true"]))
        net.layer(
            "InnerProduct",
            f"inner_product_param {{ num_output: {units} {more} }}",
            (units,),
        )
        companions(draw, net)
    return data(draw, image) + "\n".join(net.lines) + head(draw, net), image


def group(draw, net: Written) -> None:
    """Convolutions and, mostly, a pooling."""
    for _ in range(draw(st.integers(0, 2))):
        convolution(draw, net)
        companions(draw, net)
    if draw(st.integers(0, 3)):
        pooling(draw, net)
        if draw(st.booleans()):
            companions(draw, net)


def convolution(draw, net: Written) -> None:
    channels, height, width = net.shape
    dilation = draw(st.sampled_from([1, 1, 1, 2, 3]))
    rectangular = draw(st.booleans())
    high = draw(windows(height, False, dilation))
    wide = draw(windows(width, False, dilation))
    if not rectangular:
        high = wide = draw(windows(min(height, width), False, dilation))
        high, wide = (placed(high, n, dilation) for n in (height, width))
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
    outputs = groups * draw(st.integers(1, 3))
    bias = draw(st.sampled_from(["", "bias_term: false"]))
    net.layer(
        "Convolution",
        f"convolution_param {{ num_output: {outputs} group: {groups} {bias}"
        f" dilation: {dilation} {two(high, wide, rectangular)} }}",
        (outputs, high[3], wide[3]),
    )


def placed(window: tuple, length: int, dilation: int = 1) -> tuple:
    """A convolution's window along another axis."""
    kernel, stride, pad, _ = window
    extent = dilation * (kernel - 1) + 1
    return kernel, stride, pad, (length + 2 * pad - extent) // stride + 1


def pooling(draw, net: Written) -> None:
    channels, height, width = net.shape
    method = draw(st.sampled_from(["MAX", "AVE"]))
    if draw(st.integers(0, 7)) == 0:
        net.layer(
            "Pooling",
            f"pooling_param {{ pool: {method} global_pooling: true }}",
            (channels, 1, 1),
        )
        return
    sizes = [draw(windows(length, True)) for length in (height, width)]
    padded = any(pad for _, _, pad, _ in sizes)
    counts = []
    for (_, stride, pad, count), length in zip(sizes, (height, width), strict=True):
        if padded and (count - 1) * stride >= length + pad:
            count -= 1
        if (count - 1) * stride - pad >= length:
            return  # its last window would lie outside
        counts.append(count)
    net.layer(
        "Pooling",
        f"pooling_param {{ pool: {method} {two(*sizes, True)} }}",
        (channels, *counts),
    )


def companions(draw, net: Written) -> None:
    """What stands behind a layer with weights, or a pooling."""
    kinds = NORMALISATIONS | FUNCTIONS | UNDOABLE | PLANAR
    for kind in draw(st.lists(st.sampled_from(list(kinds)), max_size=3)):
        if kind in PLANAR and len(net.shape) != 3:
            continue
        in_place = kind not in PLANAR and draw(st.booleans())
        net.layer(kind, draw(st.sampled_from(kinds[kind])), in_place=in_place)


def data(draw, image: tuple[int, ...]) -> str:
    if draw(st.booleans()):
        shape = " ".join(f"dim: {n}" for n in (2, *image))
        return (
            'layer { name: "data" type: "Input" top: "data"'
            f" input_param {{ shape {{ {shape} }} }} }}\n"
        )
    scale = draw(st.sampled_from(["", "transform_param { scale: 0.00390625 }"]))
    return (
        f'layer {{ name: "data" type: "Data" top: "data" top: "label" {scale}'
        ' data_param { source: "nowhere" batch_size: 2 backend: LMDB } }\n'
    )


def head(draw, net: Written) -> str:
    if draw(st.booleans()):
        names = f'name: "prob" type: "Softmax" bottom: "{net.blob}" top: "prob"'
        return f"\nlayer {{ {names} }}"
    return ""


@settings(
    max_examples=EXAMPLES,
    derandomize="RANDOM_NETWORKS" not in os.environ,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking takes minutes, and the networks are small
    suppress_health_check=list(HealthCheck),
)
@given(networks(), st.sampled_from(list(VARIANTS)), st.sampled_from(GROUPS), st.data())
def test_any_sequential_network_is_mirrored(written, variant, group, data):
    text, image = written
    note(text)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.prototxt"
        path.write_text(text)
        network = read_user_network(path, Options("given", image, group))
    assert network.limit is None
    depth = network.depth
    if VARIANTS[variant].has_decoder:
        depth = data.draw(st.integers(1, network.max_depth), label="depth")
    made = plan(network, VARIANTS[variant], depth)
    note(loading.texts(made)["train_val"])
    loading.in_child(loading.check_plan, made)
    if variant != "ladder":
        check_kept(text, loading.texts(made)["train_val"])


def check_kept(own: str, made: str) -> None:
    """Without what augmentation has added, the network is what it was."""
    before = text_format.Parse(own, caffe_pb2.NetParameter()).layer
    after = [
        layer
        for layer in text_format.Parse(made, caffe_pb2.NetParameter()).layer
        if not layer.name.startswith("dec:") and layer.name != "data/scaled"
    ]
    for layer in after:
        if layer.type == "Pooling" and len(layer.top) == 2:
            assert layer.top.pop() == f"{layer.top[0]}-mask"
    assert [without_specs(layer) for layer in after] == [
        without_specs(layer) for layer in before
    ]


def without_specs(layer) -> caffe_pb2.LayerParameter:
    """Caffe's upgrade sets BatchNorm's multipliers to 0, as Caffe itself does."""
    result = caffe_pb2.LayerParameter()
    result.CopyFrom(layer)
    if layer.type == "BatchNorm":
        del result.param[:]
    return result
