"""The contents of files as bytes: chunks, pages and frames of containers, before any sample is decoded."""
