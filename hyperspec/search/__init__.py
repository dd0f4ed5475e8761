"""Optuna searches through Hydra: space, study, sampler, pruner."""
