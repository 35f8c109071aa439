"""The training loop of every method, and the library's entry point `Guide`."""
