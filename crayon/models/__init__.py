"""Classifiers: architectures, building and splitting them, inference, our checkpoints and those of others."""
