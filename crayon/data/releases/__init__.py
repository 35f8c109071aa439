"""Benchmarks that others published: download, check, unpack, list."""
