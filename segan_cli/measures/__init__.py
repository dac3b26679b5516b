"""Measures of quality: what each is, and a number or Undefined for a pair of signals."""
