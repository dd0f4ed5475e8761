"""Lightning module, optimizer and schedule, callbacks, checkpoints."""
