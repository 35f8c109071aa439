"""Benchmarks whose images are drawn, or composed of pictures that packages ship."""
