"""From catalogue to batches: splits, views and the data module.

Kept empty of imports so that each part is paid for only where it is used.
"""
