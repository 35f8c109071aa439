"""Benchmarks of real photographs: animals cut out of photographs, on photographs of places, from Debian packages."""
