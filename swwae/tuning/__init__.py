"""Learning rates and loss weights, found by trial as the paper says."""
