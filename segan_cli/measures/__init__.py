"""Objective measures of speech quality and intelligibility, each a number or Undefined."""
