"""Fine-tuning on rows, and in `from_scratch` what only the embedded model needs."""
