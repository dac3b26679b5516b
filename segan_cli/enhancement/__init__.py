"""Enhancing recordings: segments, streams, files, batches."""
