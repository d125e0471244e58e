"""Figures of runs, as PNG or SVG."""
