"""Figures of runs, as PNG or SVG."""

from generator.plotting import import_matplotlib

import_matplotlib()
