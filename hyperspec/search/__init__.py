"""Optuna searches through Hydra."""
