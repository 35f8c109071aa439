"""Yes-no answers: as they were given, simulated, and made into labels."""
