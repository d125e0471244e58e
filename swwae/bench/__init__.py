"""How fast a training step is, by the fork's engines and in PyTorch."""
