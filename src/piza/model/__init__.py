"""The network: the detector in stages, what zooms around it, and how models are read and written."""
