"""Training data: corpora to recordings, recordings to training examples."""
