"""Files: local and remote, written whole or not at all, and never over an input."""
