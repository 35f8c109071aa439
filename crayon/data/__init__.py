"""Data sets: drawn, composed, or read from a folder; packed into one form that nothing downstream looks behind."""
