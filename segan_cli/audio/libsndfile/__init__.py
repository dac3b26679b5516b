"""Reading and writing with libsndfile."""
