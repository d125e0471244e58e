"""The table of a network."""


def described(network, variant, depth):
    return ""
