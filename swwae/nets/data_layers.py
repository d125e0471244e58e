"""Reads network files, and builds networks in pycaffe to learn what they hold.

Caffe ends the whole program where a network is wrong, so networks are built in a
process of their own, which also gives the memory back.
"""

from caffe.proto import caffe_pb2

from swwae.nets.network import Shape

DATA = ("Data", "ImageData", "HDF5Data", "WindowData", "MemoryData", "DummyData")
"""Layers that yield images and labels of themselves."""


def sources(network: caffe_pb2.NetParameter) -> list[str]:
    """What a NetParameter's data layers read, relative to the root: LMDBs, LevelDBs,
    lists of files."""
    found = []
    for layer in network.layer:
        for field, value in layer.ListFields():
            if field.name.endswith("data_param") and hasattr(value, "source"):
                found.append(value.source)
    return list(dict.fromkeys(found))


def batch_size(network: caffe_pb2.NetParameter) -> int | None:
    """Images that one training forward takes; None where no data layer says.

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
    """Whether a layer is there in training, as far as its phases say."""
    phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
    excluded = [rule.phase for rule in layer.exclude if rule.HasField("phase")]
    return caffe_pb2.TEST not in phases and caffe_pb2.TRAIN not in excluded


def without_data(net: caffe_pb2.NetParameter, image: Shape, blob: str) -> None:
    """Replaces what reads data by Input layers of one image, in `blob`, and labels.

    Where `blob` is concatenated from several data layers' images, each has one.
    """
    joined = (la for la in net.layer if la.type == "Concat" and blob in la.top)
    images = {blob, *(bottom for layer in joined for bottom in layer.bottom)}
    for layer in net.layer:
        if layer.type in DATA:
            layer.type = "Input"
            for field, _ in layer.ListFields():
                if field.name.endswith("_param"):
                    layer.ClearField(field.name)
            for top in layer.top:
                layer.input_param.shape.add(dim=image if top in images else (1,))
