"""What frozen features are worth: evaluators by name, intervals, importance, controls.

Kept empty of imports: scikit-learn, torch and matplotlib are loaded by the parts that need them.
"""
