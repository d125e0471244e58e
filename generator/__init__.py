"""Renders augmented Caffe networks and the solvers of their training stages.

Read in this order: `paper` (the figures it all rests on), `layers`, `shapes` and
`sequence` (what a network is made of), `networks` (the built-in ones) and `given` (a
user's, which `schema` and `source` read), `variants` (how they are augmented), `mirror`
(the decoder) and `ladder`, `stages` (which network each stage trains, with which
solver), `files` (where they go); `describe` and `draw` show a network.
"""
