"""The picture of a network."""


def draw(network, variant, depth, path):
    pass
