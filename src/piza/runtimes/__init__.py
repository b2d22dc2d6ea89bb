"""Searching with an exported model, by ONNX Runtime or OpenVINO: torch is needed to export and not to run.

exported.py   an export as a model to search with
engines.py    the two engines that run its graphs
export.py     writing one (needs torch), of what graphs.py traces and compare.py holds to the model
int8.py       weights in eight bits
"""

from piza.runtimes.engines import RUNTIMES
from piza.runtimes.exported import ExportedModel, load_exported

__all__ = ["RUNTIMES", "ExportedModel", "load_exported"]
