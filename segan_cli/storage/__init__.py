"""Files: local and remote, written completely or not at all, and never over an input."""
