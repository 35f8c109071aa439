"""Answers from and to files: CSV, Amazon Mechanical Turk, Label Studio, the published ones."""
