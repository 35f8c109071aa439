"""The configuration, params.yaml: types of its values, its sections, and the code that reads and checks it."""
