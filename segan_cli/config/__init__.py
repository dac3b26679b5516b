"""Configs of models, training and recipes as frozen dataclasses, without torch."""
