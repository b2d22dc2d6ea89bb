"""Searches as drawings and animations."""
