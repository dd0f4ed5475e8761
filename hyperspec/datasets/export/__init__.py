"""Prepared specimens written in other formats."""
