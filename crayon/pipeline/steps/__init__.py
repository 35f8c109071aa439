"""The steps of the pipeline, one module each; a step reads the inputs of its job and writes the job's outputs."""
