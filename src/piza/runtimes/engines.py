"""The engines that run a graph. Both read the same ONNX files; neither is imported before it is asked for."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from piza.devices import lacks_memory
from piza.errors import InputError, reason

Graph: TypeAlias = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]
"""Inputs by name -> outputs in order. Inputs that the graph does not have are left out."""


def _onnx(path: Path, threads: int) -> Graph:
    try:
        import onnxruntime
    except ImportError:
        raise _lacking("onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    _shared_memory(onnxruntime)
    options.add_session_config_entry("session.use_env_allocators", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = {node.name for node in session.get_inputs()}
    return lambda given: session.run(None, {name: given[name] for name in names})


@cache
def _shared_memory(onnxruntime: Any) -> None:
    """One memory for all graphs of the process, which run in turn; else each keeps what it once needed."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(memory, None)


def _openvino(path: Path, threads: int) -> Graph:
    try:
        import openvino
    except ImportError:
        raise _lacking("openvino") from None
    # Some processors would compute in bfloat16 unasked, which moves boxes.
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    with _openvino_call():
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    # An input may also bear the names of steps behind it that were found to change nothing.
    names = [node.get_names() for node in compiled.inputs]
    lock = threading.Lock()  # a request holds its inputs and outputs, and there is one a graph

    def run(given: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        inputs = [given[next(name for name in given if name in known)] for known in names]
        with _openvino_call(), lock:
            outputs = compiled(inputs)
            # Copies, as the engine uses its memory again.
            return [np.array(outputs[number]) for number in range(len(compiled.outputs))]

    return run


_under_way: set[object] = set()  # calls of OpenVINO in all threads
_cut_off = False  # a call was under way in another thread when this process was forked


@contextmanager
def _openvino_call() -> Iterator[None]:
    """Around each call of OpenVINO, which would wait forever for threads that a forked process has not. Raises InputError there."""
    if _cut_off:
        raise InputError(
            "this process was forked while another thread used OpenVINO, which cannot compute here: start processes before that, "
            "or with the method spawn"
        )
    call = object()
    _under_way.add(call)
    try:
        yield
    finally:
        _under_way.discard(call)


def _see_fork() -> None:
    global _cut_off
    _cut_off = _cut_off or bool(_under_way)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_see_fork)


RUNTIMES: dict[str, Callable[[Path, int], Graph]] = {"onnx": _onnx, "openvino": _openvino}
"""How a graph is loaded: file and number of threads (0: the engine's choice) -> what runs it, from any thread."""

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""The package that a runtime needs."""


def load_graph(path: Path, runtime: str, threads: int | None = None) -> Graph:
    """A graph to run on the CPU; threads None takes OMP_NUM_THREADS, as torch does, or the engine's choice.

    Raises InputError for an unknown runtime, one that is not installed and a file that it cannot read.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"runtime: expected torch, {' or '.join(RUNTIMES)}, got {runtime!r}")
    if threads is None:
        given = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(given) if given.isdigit() else 0
    try:
        return RUNTIMES[runtime](path, threads)
    except InputError:
        raise
    except Exception as error:  # a damaged file: each engine raises its own kind
        if lacks_memory(error):
            raise InputError(f"there is not enough memory for this ({reason(error)})") from None
        raise InputError(
            f"{str(path)!r} cannot be read by the runtime {runtime!r}: {reason(error)}"
        ) from None


def _lacking(runtime: str) -> InputError:
    return InputError(
        f"the runtime {runtime!r} needs the package {PACKAGES[runtime]}: install it with pip install 'piza[{runtime}]'"
    )
