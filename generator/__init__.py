"""Renders augmented Caffe networks and the solvers of their training stages.

Read in this order: `paper` (the figures it all rests on), `networks` (what is
augmented), `variants` (how), `layers` (what a network file is made of), `mirror`
(encoder, decoder, losses), `stages` (which network each stage trains, with which
solver), `files` (where they go).
"""
