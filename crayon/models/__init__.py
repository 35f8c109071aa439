"""Classifiers: architectures, how to build and split them, inference, and checkpoints (Crayon's and others')."""
