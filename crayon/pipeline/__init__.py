"""The jobs of a suite, their records, and whether a record is still valid."""
