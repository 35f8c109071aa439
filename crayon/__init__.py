"""Crayon: guide the attention of an image classifier with simple yes-no answers."""

__version__ = "0.1.0"
