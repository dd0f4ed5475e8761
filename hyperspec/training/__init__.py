"""From a checked config to trained weights: module, trainer, callbacks, checkpoints."""
