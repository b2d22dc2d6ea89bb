"""Rows of sentences with boxes: formats, checks, statistics, windows, and the synthetic scenes."""
