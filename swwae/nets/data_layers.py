"""A network's data layers: what they read, how much at a time, and in which phase.

What they do to pixels is `transformation`'s subject.
"""

from caffe.proto import caffe_pb2

from swwae.nets.network import Shape

DATA = ("Data", "ImageData", "HDF5Data", "WindowData", "MemoryData", "DummyData")
"""Layers that yield images and labels of themselves."""


def sources(network: caffe_pb2.NetParameter) -> list[str]:
    """Returns what a network's data layers read, relative to the root: LMDBs, LevelDBs,
    lists of files, each once."""
    found = []
    for layer in network.layer:
        for field, value in layer.ListFields():
            if field.name.endswith("data_param") and hasattr(value, "source"):
                found.append(value.source)
    return list(dict.fromkeys(found))


def batch_size(network: caffe_pb2.NetParameter) -> int | None:
    """Returns the images of one training batch; None where no data layer says.

    That is the first data layer's, and that of those whose images are concatenated
    with its own.
    """
    sizes: dict[str, int] = {}
    for layer in filter(in_training, network.layer):
        for field, value in layer.ListFields():
            if field.name.endswith("data_param") and hasattr(value, "batch_size"):
                blob = layer.top[0] if layer.top else layer.name
                sizes.setdefault(blob, value.batch_size)
        joined = layer.type == "Concat" and layer.concat_param.axis == 0
        if joined and sizes.keys() >= set(layer.bottom):
            return sum(sizes[blob] for blob in layer.bottom)
    return next(iter(sizes.values()), None)


def in_training(layer: caffe_pb2.LayerParameter) -> bool:
    """Tells whether a layer is there in training, as far as its phases say."""
    return in_phase(layer, caffe_pb2.TRAIN)


def in_phase(layer: caffe_pb2.LayerParameter, phase: int) -> bool:
    """Tells whether a layer is there in a phase (caffe_pb2.TRAIN or TEST), as far as
    its rules on phases say: one `include` that is met is enough, as in Caffe."""
    excluded = [rule.phase for rule in layer.exclude if rule.HasField("phase")]
    included = [
        not rule.HasField("phase") or rule.phase == phase for rule in layer.include
    ]
    return phase not in excluded and (not included or any(included))


def without_data(net: caffe_pb2.NetParameter, image: Shape, blob: str) -> None:
    """Replaces what reads data by Input layers of one image, in `blob`, and labels; an
    Input layer that is there already has such an image then.

    image: (1, channels, height, width). Where `blob` is concatenated from several data
    layers' images, each has one.
    """
    joined = (la for la in net.layer if la.type == "Concat" and blob in la.top)
    images = {blob, *(bottom for layer in joined for bottom in layer.bottom)}
    for layer in net.layer:
        if layer.type == "Input" and blob in layer.top:
            layer.input_param.shape[0].dim[:] = image
        if layer.type in DATA:
            layer.type = "Input"
            for field, _ in layer.ListFields():
                if field.name.endswith("_param"):
                    layer.ClearField(field.name)
            for top in layer.top:
                layer.input_param.shape.add(dim=image if top in images else (1,))
