"""The ground that every other package stands on: errors, files, log, text, chunks, GPUs."""
