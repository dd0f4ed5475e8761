"""Planes of the chosen bands on their way to batches."""
