"""Images of the user: a folder of classes, or a table."""
