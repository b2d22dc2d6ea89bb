"""Data sets: rows in SOREC's format and others, checks, statistics, and what training is cut from."""
