"""Builds generated networks in pycaffe, without their data and without fillers.

Caffe ends the process where a network is wrong; `in_child` keeps that from the tests.
"""

import os
import re
import tempfile
import traceback
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path

import caffe
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.files import render
from generator.stages import NetworkFile, Plan
from swwae.nets import building

PHASES = {"TRAIN": caffe.TRAIN, "TEST": caffe.TEST}
TRAINED = ("train_val", "decoder", "pretrain")
BATCH = 2


def texts(plan: Plan) -> dict[str, str]:
    """Kind -> text, of a plan's networks."""
    made = render([plan])
    return {file.kind: made[file.path] for file in plan.networks}


def thinned(text: str, units: int = 32) -> str:
    """A user's network whose layers of 1000 outputs and more have few, to be fast."""
    return re.sub(r"num_output: \d{4,}", f"num_output: {units}", text)


def without_data(text: str, image: tuple[int, ...], blob: str, batch: int = BATCH):
    """A NetParameter with Input layers in place of what reads data."""
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    tops = {}
    for layer in list(net.layer):
        building.drop_fillers(layer)
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


def check_shapes(
    built: caffe.Net, file: NetworkFile, phase: str, limited: bool = False
) -> None:
    """Every parameter and every top has the shape that we say it has.

    limited: behind what cannot be mirrored, nothing is said.
    """
    layers = [la for la in file.layers if la.in_phase(phase)]
    known = {layer.name for layer in layers if layer.blobs}
    assert known <= set(built.params) if limited else known == set(built.params)
    for layer in layers:
        if layer.blobs:
            shapes = [tuple(blob.shape) for blob in built.params[layer.name]]
            assert shapes == list(layer.blobs), (file.path, layer.name)
        if layer.shape and layer.tops:
            shape = tuple(built.blobs[layer.tops[0]].shape)[1:]
            assert shape == layer.shape, (file.path, layer.name)


def check_plans(plans: Iterable[Plan]) -> None:
    for plan in plans:
        check_plan(plan)


def check_plan(plan: Plan) -> None:
    """The fork loads every network of a plan in the phases that it is for; shapes are
    as said, and the reconstruction has the image's."""
    image, limited = plan.network.image, bool(plan.network.limit)
    made = texts(plan)
    for file in plan.networks:
        net = without_data(made[file.kind], image.shape, image.blob)
        for phase in PHASES if file.kind in TRAINED else ("TEST",):
            if not any(not la.bottoms and la.in_phase(phase) for la in file.layers):
                continue  # the user's file has no data for this phase
            built = build(net, PHASES[phase])
            check_shapes(built, file, phase, limited)
            copy = f"dec:{image.name}"
            decodes = plan.variant.has_decoder and file.kind != "deploy_conv"
            assert decodes == (copy in built.blobs), file.path
            if decodes:
                assert tuple(built.blobs[copy].shape)[1:] == image.shape, file.path


def in_child(check: Callable[..., None], *arguments) -> None:
    """Runs a check in a forked process; AssertionError with all that it printed where
    it raises, or Caffe aborts."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        child = get_context("fork").Process(
            target=_quietly, args=(check, arguments, said)
        )
        child.start()
        child.join()
        said.seek(0)
        assert child.exitcode == 0, said.read()


def _quietly(check: Callable[..., None], arguments: tuple, said) -> None:
    os.dup2(said.fileno(), 2)
    try:
        check(*arguments)
    except BaseException:
        said.write(traceback.format_exc())
        said.flush()
        os._exit(1)
    os._exit(0)


def read(path: Path) -> caffe_pb2.NetParameter:
    return text_format.Parse(path.read_text(), caffe_pb2.NetParameter())
