"""Programs that draw training curves, one file each."""
