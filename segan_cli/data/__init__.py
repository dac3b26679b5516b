"""Training data: folders to recordings, recordings to windows."""
