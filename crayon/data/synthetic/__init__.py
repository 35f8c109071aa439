"""Synthetic benchmarks: their images are drawn, or composed from pictures that Python packages include."""
