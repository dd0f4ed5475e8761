"""Cubes: headers, reading, writing, catalogue, store."""
