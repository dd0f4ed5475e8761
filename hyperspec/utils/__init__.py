"""Helpers that know nothing of spectra: errors, files, processes, text."""
