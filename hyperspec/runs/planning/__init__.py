"""Memory and work of a run before it starts: the step on fake tensors, held against the device."""
