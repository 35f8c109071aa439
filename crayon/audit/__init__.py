"""The audit: checks results, explains how a number was made, and traces what depends on a file and what changed."""
