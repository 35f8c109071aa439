"""Data sets: drawn, composed, downloaded or read from a folder, then packed into one format for all other code."""
