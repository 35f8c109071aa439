"""Attention of a classifier: Grad-CAM maps, the patches of its neurons, views for annotators, and scores of maps."""
