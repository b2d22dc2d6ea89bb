"""How often a model is right, and where it goes wrong."""
