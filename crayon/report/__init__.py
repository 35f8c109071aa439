"""Tables and figures, and the paper's published numbers beside them."""
