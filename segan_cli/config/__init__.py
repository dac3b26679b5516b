"""Models, trainings and recipes as frozen data; nothing here knows torch."""
