"""Prepared specimens, packed once, or read on the fly."""
