"""The charts of a report, one module each.

Each module has a ``section`` that returns its part of the report, or None where the sweeps have no
such data, so that no report holds an empty chart.
"""
