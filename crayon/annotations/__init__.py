"""Yes-no answers: collected, imported, simulated, and turned into labels."""
