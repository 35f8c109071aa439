"""Benchmarks composed of real photographs from Debian packages: cut-out animals on photographs of places."""
