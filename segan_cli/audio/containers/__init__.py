"""What a file holds, in bytes: chunks, pages and frames of containers, before any sample is decoded."""
