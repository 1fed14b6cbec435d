"""From checkpoints to a bundle: plan, lower, quantize, splice, write, check."""
