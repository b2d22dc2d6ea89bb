"""The network: the detector in stages, the modules by which it zooms, and reading and writing models."""
