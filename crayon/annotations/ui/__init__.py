"""People answer: a local web page that shows one item at a time and takes yes, no or unsure."""
