"""What the encoder reads: bands perturbed, hidden, or by gradient."""
