"""Data sets: sources that are not to be trusted, made into Caffe's databases."""
