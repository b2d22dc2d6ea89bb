"""Evaluations as text and as pages."""
