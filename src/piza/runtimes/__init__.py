"""Searching with an exported model, by ONNX Runtime or OpenVINO: torch is needed to export and not to run.

exporting.py  a model's four graphs to ONNX (needs torch)
integers.py   their weights as whole numbers of eight bits
engines.py    the two engines that run them
exported.py   the model around them, for `piza.search.predictor`
"""

from piza.runtimes.engines import RUNTIMES
from piza.runtimes.exported import Exported, load_exported

__all__ = ["RUNTIMES", "Exported", "load_exported"]
