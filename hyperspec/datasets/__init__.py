"""From a folder to planes: catalogue, preparation, store, splits, loading, export.

Kept empty of imports so that each part is paid for only where it is used.
"""
