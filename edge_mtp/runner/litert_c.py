"""The few functions of LiteRT's C API that run a model where it lies in a file, on numpy arrays where they lie.

The Python wrapper of ai-edge-litert takes a model as `bytes` only, gigabytes copied, and copies tensors in and out.
The C API (https://github.com/google-ai-edge/LiteRT, litert/c) opens a region of a file and binds host memory; its
symbols carry a version (VERS_1.0) and its structs are declared ABI stable.
"""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint, c_uint32, c_void_p
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_mtp.errors import BundleError, EngineError
from edge_mtp.runner.native_log import quiet_stderr

ALIGNMENT: Final = 64
"""Bytes to which LiteRT wants host memory aligned."""

_CPU: Final = 1
_WARNING: Final = 2
_AUTO_REGISTER: Final = 24
_MIN_SEVERITY: Final = 25
_INT: Final = 2
_CPU_OPTIONS: Final = b"xnnpack"
_MAX_RANK: Final = 8
_ELEMENT_TYPES: Final = {"float32": 1, "int32": 2, "uint8": 3, "bool": 6, "int8": 9, "float16": 10}


class _EnvOption(ctypes.Structure):
    """LiteRtEnvOption with an integer value."""

    _fields_ = [("tag", c_int), ("_pad", c_int), ("type", c_int), ("_pad2", c_int), ("value", c_int64)]


class _TensorType(ctypes.Structure):
    """LiteRtRankedTensorType: element type, rank (7 bits) with a flag for strides, dimensions, strides."""

    _fields_ = [
        ("element_type", c_int),
        ("rank", c_uint),
        ("dimensions", c_int32 * _MAX_RANK),
        ("strides", c_uint32 * _MAX_RANK),
    ]


_SIGNATURES: Final[dict[str, Sequence[Any]]] = {
    "LiteRtCreateEnvironment": (c_int, POINTER(_EnvOption), POINTER(c_void_p)),
    "LiteRtCreateModelFromFd": (c_void_p, c_int, c_size_t, c_size_t, POINTER(c_void_p)),
    "LiteRtGetModelSignature": (c_void_p, c_size_t, POINTER(c_void_p)),
    "LiteRtGetNumSignatureInputs": (c_void_p, POINTER(c_size_t)),
    "LiteRtGetNumSignatureOutputs": (c_void_p, POINTER(c_size_t)),
    "LiteRtGetSignatureInputName": (c_void_p, c_size_t, POINTER(c_char_p)),
    "LiteRtGetSignatureOutputName": (c_void_p, c_size_t, POINTER(c_char_p)),
    "LiteRtCreateOptions": (POINTER(c_void_p),),
    "LiteRtSetOptionsHardwareAccelerators": (c_void_p, c_int),
    "LiteRtCreateOpaqueOptions": (c_char_p, c_void_p, c_void_p, POINTER(c_void_p)),
    "LiteRtAddOpaqueOptions": (c_void_p, c_void_p),
    "LiteRtCreateCompiledModel": (c_void_p, c_void_p, c_void_p, POINTER(c_void_p)),
    "LiteRtCreateTensorBufferFromHostMemory": (POINTER(_TensorType), c_void_p, c_size_t, c_void_p, POINTER(c_void_p)),
    "LiteRtRunCompiledModel": (c_void_p, c_size_t, c_size_t, c_void_p, c_size_t, c_void_p),
}
_LIBRARIES: Final = ("libLiteRt.so", "libLiteRt.dylib")
"""As the wheels for Linux and macOS have it."""

_DESTROYERS: Final = ("Environment", "Model", "Options", "CompiledModel", "TensorBuffer")


@cache
def _library() -> ctypes.CDLL:
    folder = Path(str(files("ai_edge_litert")))
    try:
        library = ctypes.CDLL(str(next(path for path in map(folder.joinpath, _LIBRARIES) if path.is_file())))
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = list(arguments), c_int
        for name in _DESTROYERS:
            function = getattr(library, f"LiteRtDestroy{name}")
            function.argtypes, function.restype = [c_void_p], None
    except (StopIteration, OSError, AttributeError) as error:
        raise EngineError(
            f"{folder} has no LiteRT library that this runner can use, {' or '.join(_LIBRARIES)} "
            f"({str(error) or 'no such file'}); install ai-edge-litert again, or run the bundle with --engine"
        ) from None
    return library


def _call(name: str, *arguments: Any) -> None:
    """Calls a function that returns a LiteRtStatus; BundleError where that is not 0."""
    status = getattr(_library(), name)(*arguments)
    if status != 0:
        raise BundleError(f"LiteRT refused: {name} returned status {status}; its own log above may say why")


class _Owned:
    """A handle that is destroyed with the object."""

    kind = ""

    def __init__(self, create: str, *arguments: Any) -> None:
        self.handle = c_void_p()
        _call(create, *arguments, byref(self.handle))

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            getattr(_library(), f"LiteRtDestroy{self.kind}")(self.handle)


class Environment(_Owned):
    """What all models of a process share; CPU only, warnings and worse logged."""

    kind = "Environment"

    def __init__(self) -> None:
        options = (_EnvOption * 2)(
            _EnvOption(_AUTO_REGISTER, 0, _INT, 0, _CPU), _EnvOption(_MIN_SEVERITY, 0, _INT, 0, _WARNING)
        )
        super().__init__("LiteRtCreateEnvironment", len(options), options)


class _Model(_Owned):
    kind = "Model"


class _Options(_Owned):
    """CPU options; LiteRT reads them from a text in TOML (litert/c/options/litert_cpu_options.cc)."""

    kind = "Options"

    def __init__(self, threads: int, weight_cache: str) -> None:
        super().__init__("LiteRtCreateOptions")
        _call("LiteRtSetOptionsHardwareAccelerators", self.handle, _CPU)
        text = f"num_threads = {threads}\n"
        text += f'weight_cache_file_path = "{weight_cache}"\n' if weight_cache else ""
        self._text = ctypes.create_string_buffer(text.encode())  # read while compiling, and kept as long as this is
        opaque = c_void_p()
        payload = ctypes.cast(self._text, c_void_p)
        _call("LiteRtCreateOpaqueOptions", _CPU_OPTIONS, payload, _NO_DESTRUCTOR, byref(opaque))
        _call("LiteRtAddOpaqueOptions", self.handle, opaque)


def _keep(_: int) -> None:
    """Destructor of memory that Python owns."""


_KEEP: Final = ctypes.CFUNCTYPE(None, c_void_p)(_keep)
_NO_DESTRUCTOR: Final = ctypes.cast(_KEEP, c_void_p)


class CompiledModel(_Owned):
    """A model compiled for the CPU from `size` bytes at `offset` of the open file `descriptor`."""

    kind = "CompiledModel"

    def __init__(
        self, environment: Environment, descriptor: int, offset: int, size: int, threads: int, weight_cache: str = ""
    ) -> None:
        """`weight_cache`: file for repacked weights, shared by all signatures; without one each repacks its own."""
        self._keeps = (environment, options := _Options(threads, weight_cache))
        self._model = _Model("LiteRtCreateModelFromFd", environment.handle, descriptor, offset, size)
        with quiet_stderr():
            super().__init__("LiteRtCreateCompiledModel", environment.handle, self._model.handle, options.handle)

    def tensor_names(self, signature: int) -> tuple[list[str], list[str]]:
        """Inputs and outputs of signature number `signature` in the order in which `run` wants them."""
        found = c_void_p()
        _call("LiteRtGetModelSignature", self._model.handle, signature, byref(found))
        return _names(found, "Input"), _names(found, "Output")

    def run(self, signature: int, inputs: "Bound", outputs: "Bound") -> None:
        """Runs signature number `signature` on bound arrays, in the order of the signature's tensors."""
        given, made = (inputs.count, inputs.handles), (outputs.count, outputs.handles)
        _call("LiteRtRunCompiledModel", self.handle, signature, *given, *made)


def _names(signature: c_void_p, kind: str) -> list[str]:
    """Names of a signature's inputs or outputs ("Input", "Output")."""
    count = c_size_t()
    _call(f"LiteRtGetNumSignature{kind}s", signature, byref(count))
    found = [c_char_p() for _ in range(count.value)]
    for index, name in enumerate(found):
        _call(f"LiteRtGetSignature{kind}Name", signature, index, byref(name))
    return [(name.value or b"").decode() for name in found]


class TensorBuffer(_Owned):
    """Host memory as LiteRT sees it: `array` is aligned, zero at first, and read and written in place."""

    kind = "TensorBuffer"

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        self.array = aligned_zeros(shape, dtype)
        kind = _TensorType(_ELEMENT_TYPES[dtype.name], len(shape))
        kind.dimensions[: len(shape)] = list(shape)
        address = self.array.ctypes.data_as(c_void_p)
        super().__init__("LiteRtCreateTensorBufferFromHostMemory", byref(kind), address, self.array.nbytes, None)


class Bound:
    """Tensor buffers in a signature's order, ready to be handed over."""

    def __init__(self, buffers: Sequence[TensorBuffer]) -> None:
        self._buffers = tuple(buffers)  # kept alive
        self.count = len(buffers)
        self.handles = (c_void_p * self.count)(*(buffer.handle for buffer in buffers))


def aligned_zeros(shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros of `shape`, their address a multiple of ALIGNMENT."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
