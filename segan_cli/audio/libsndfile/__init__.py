"""Reading and writing by libsndfile."""
