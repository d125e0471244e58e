"""Runs of the stages: their names, folders, and what is recorded of them."""
