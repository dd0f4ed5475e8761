"""Runs kept on disk while the server is away."""
