"""Classifiers: networks, their parts, their checkpoints, and foreign checkpoints."""
