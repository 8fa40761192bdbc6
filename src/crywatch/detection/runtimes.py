"""Networks in files, on ONNX Runtime or LiteRT: what opens them, each on one core."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from crywatch.core.errors import ModelError

Shape = tuple[int, ...]  # -1 where a length is free


class Network(ABC):
    """A network in a file; its inputs and outputs have names."""

    inputs: dict[str, Shape]
    outputs: list[str]
    concurrent = False  # may be called from several threads at once

    @abstractmethod
    def __call__(self, values: np.ndarray, input: str = "", output: str = "") -> np.ndarray:
        """``output`` for ``values`` at ``input``; without names the first of each."""


class OnnxNetwork(Network):
    """On ONNX Runtime."""

    concurrent = True

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        except Exception as error:  # of the runtime's own kinds
            raise ModelError(f"{path}: not an ONNX model ({in_a_line(error)})") from error
        self.inputs = {
            each.name: tuple(n if isinstance(n, int) else -1 for n in each.shape)
            for each in session.get_inputs()
        }
        self.outputs = [each.name for each in session.get_outputs()]
        self._session = session

    def __call__(self, values: np.ndarray, input: str = "", output: str = "") -> np.ndarray:
        names = [output or self.outputs[0]]
        return self._session.run(names, {input or next(iter(self.inputs)): values})[0]


class LiteRtNetwork(Network):
    """On LiteRT; ``reference`` takes the plain kernels, which are those of microcontrollers."""

    def __init__(self, path: Path, threads: int = 1, reference: bool = False):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
        try:
            self._interpreter = Interpreter(
                model_path=str(path), num_threads=threads, experimental_op_resolver_type=resolver
            )
            given, gives = (
                {each["name"]: each for each in details}
                for details in (
                    self._interpreter.get_input_details(),
                    self._interpreter.get_output_details(),
                )
            )
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: not a .tflite model ({in_a_line(error)})") from error
        self.inputs = {name: tuple(map(int, each["shape"])) for name, each in given.items()}
        self.outputs = list(gives)
        # (scale, zero) of whole numbers, of inputs and outputs.
        self.scales = {name: each["quantization"] for name, each in (given | gives).items()}
        self._places = {name: each["index"] for name, each in (given | gives).items()}
        self._ready: dict[str, Shape] = {}  # shapes that memory was taken for

    def __call__(self, values: np.ndarray, input: str = "", output: str = "") -> np.ndarray:
        name = input or next(iter(self.inputs))
        if self._ready.get(name) != values.shape:
            if values.shape != self.inputs[name] or self._ready:
                self._interpreter.resize_tensor_input(self._places[name], values.shape)
            self._interpreter.allocate_tensors()
            self._ready = {name: values.shape}
        self._interpreter.set_tensor(self._places[name], values)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._places[output or self.outputs[0]])


RUNTIMES: dict[str, tuple[Callable[[Path], Network], str]] = {  # with the module that runs it
    ".onnx": (OnnxNetwork, "onnxruntime"),
    ".tflite": (LiteRtNetwork, "ai_edge_litert"),
}


def open_network(path: Path) -> Network:
    """By its suffix; ModelError where the file is no such network."""
    opened, _ = RUNTIMES[path.suffix]
    return opened(path)


def has_runtime(name: str) -> bool:
    """Whether what runs a file of this name is installed."""
    return find_spec(RUNTIMES[Path(name).suffix][1]) is not None


def in_a_line(error: BaseException) -> str:
    """Kind and beginning of an error."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
