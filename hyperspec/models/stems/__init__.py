"""Stems: from C bands to the channels that a backbone takes."""
