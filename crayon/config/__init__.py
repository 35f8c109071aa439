"""params.yaml: the types of its values, its sections, and how it is read and checked."""
