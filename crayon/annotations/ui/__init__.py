"""A local web page on which people annotate: it shows one item at a time and records yes, no or unsure."""
