"""Backbones and their normalisation layers, ours and torchvision's."""
