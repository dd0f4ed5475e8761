"""Sweeps that finish and answer: parent runs, identity, search, report."""
