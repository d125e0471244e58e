"""Whether a build or a bundle of it works on this machine: checks, a line each."""
