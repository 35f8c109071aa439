"""One module a step of the chain; each reads and writes what its job in `crayon.pipeline.plan` says."""
