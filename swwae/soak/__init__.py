"""A soak: training through the stages while everything fails that can be made to."""
