"""Normalisation of the channels."""
