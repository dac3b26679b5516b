"""Evaluation: cases to score, their scores, statistics and reports."""
