"""The search with any grounder, untrained: detectors of transformers and chat models."""
