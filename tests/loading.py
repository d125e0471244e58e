"""Builds generated networks in pycaffe, without their data and without fillers."""

import tempfile
from pathlib import Path

import caffe
import network
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.files import render
from generator.stages import NetworkFile, Plan

PHASES = {"TRAIN": caffe.TRAIN, "TEST": caffe.TEST}
TRAINED = ("train_val", "decoder", "pretrain")
BATCH = 2


def texts(plan: Plan) -> dict[str, str]:
    """Kind -> text, of a plan's networks."""
    made = render([plan])
    return {file.kind: made[file.path] for file in plan.networks}


def without_data(text: str, image: tuple[int, ...], blob: str, batch: int = BATCH):
    """A NetParameter with Input layers in place of what reads data."""
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    tops = {}
    for layer in list(net.layer):
        network.drop_fillers(layer)
        if not layer.bottom:
            net.layer.remove(layer)
            tops |= dict.fromkeys(layer.top, layer.type)
    for name in reversed(tops):
        shape = (batch, *image) if name in (blob, "mean") else (batch,)
        layer = caffe_pb2.LayerParameter(name=name, type="Input", top=[name])
        layer.input_param.shape.add(dim=shape)
        net.layer.insert(0, layer)
    return net


def build(net: caffe_pb2.NetParameter, phase: int = caffe.TEST) -> caffe.Net:
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text_format.MessageToString(net))
        file.flush()
        return caffe.Net(file.name, phase)


def check_shapes(built: caffe.Net, file: NetworkFile, phase: str) -> None:
    """Every parameter and every top has the shape that we say it has."""
    layers = [la for la in file.layers if la.in_phase(phase)]
    known = {layer.name for layer in layers if layer.blobs}
    assert known == set(built.params), file.path
    for layer in layers:
        if layer.blobs:
            shapes = [tuple(blob.shape) for blob in built.params[layer.name]]
            assert shapes == list(layer.blobs), (file.path, layer.name)
        if layer.shape and layer.tops:
            shape = tuple(built.blobs[layer.tops[0]].shape)[1:]
            assert shape == layer.shape, (file.path, layer.name)


def read(path: Path) -> caffe_pb2.NetParameter:
    return text_format.Parse(path.read_text(), caffe_pb2.NetParameter())
