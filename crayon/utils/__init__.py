"""Helpers that all other packages may import: errors, files, logging, text, chunks, GPUs."""
