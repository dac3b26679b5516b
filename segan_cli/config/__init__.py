"""Configs of models, trainings and recipes as frozen dataclasses, without torch."""
