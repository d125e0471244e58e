"""Caffe as a program: what it computes on, what it logs, training by it."""
