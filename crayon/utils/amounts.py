"""Amounts of time and of disk, in words."""
