"""Trained networks at work: errors, reconstructions, the paper's Table 1."""
