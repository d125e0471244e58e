"""The interpreter's layers without weights: functions, normalization, shapes, losses.

Shapes in docstrings: N images, C channels, H × W places. An axis named `axis` may be
negative, as in Caffe.
"""

import numpy as np
from caffe.proto import caffe_pb2
from caffe.proto.caffe_pb2 import (
    LossParameter,
)

from tests.helpers.arithmetic_windows import Axis, along, average_pooling

FLT_MIN = float(np.finfo(np.float32).tiny)

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
