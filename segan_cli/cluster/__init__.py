"""Batches and evaluations on a Ray cluster."""
