"""Evaluation: cases to compare, their scores, statistics over them, and reports."""
