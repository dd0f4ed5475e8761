"""What frozen features are worth: probes, retrieval, intervals, controls, importance, signatures.

Kept empty of imports: scikit-learn, torch and matplotlib are loaded by the parts that need them.
"""
