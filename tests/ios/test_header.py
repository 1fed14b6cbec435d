"""The C functions that the Swift adapter declares are those of the installed library, argument by argument."""

import ctypes
import re
from pathlib import Path

import pytest
from litert_lm import _ffi

HEADER = Path(__file__).parents[2] / "ios_demo/Sources/CLiteRT/include/litert_lm_used.h"
LIBRARY = _ffi._get_lib()
DECLARATION = re.compile(r"^([a-zA-Z][\w ]*?[ *]+)(litert_lm_\w+)\(([^)]*)\);", re.MULTILINE)
NUMBERS = {
    "int": "int", "unsigned int": "int", "bool": "bool", "size_t": "size", "float": "float", "double": "double",
}  # fmt: skip
KINDS = {
    ctypes.c_int: "int", ctypes.c_uint32: "int", ctypes.c_bool: "bool", ctypes.c_size_t: "size",
    ctypes.c_float: "float", ctypes.c_double: "double", ctypes.c_char_p: "text", _ffi.c_string_p: "text",
}  # fmt: skip
NOT_IN_BINDINGS = {"litert_lm_get_last_error_message"}
"""Exported, but the Python bindings do not call it, so nothing says its types but upstream's c/engine.h."""


def declared(header: str) -> dict[str, tuple[str, list[str]]]:
    """Functions of a header: kind of result, kinds of arguments."""
    found = {}
    for result, name, arguments in DECLARATION.findall(re.sub(r"//.*", "", header)):
        parts = [part.strip() for part in arguments.split(",") if part.strip() not in ("", "void")]
        found[name] = (kind(result), [kind(re.sub(r"\w+$", "", part)) for part in parts])
    return found


def kind(declaration: str) -> str:
    """text, pointer, or a number's kind, of a C type."""
    plain = " ".join(declaration.replace("const ", "").split())
    if plain.replace(" ", "") == "char*":
        return "text"
    if "*" in plain or plain == "LiteRtLmStreamCallback":
        return "pointer"
    return "void" if plain == "void" else NUMBERS[plain]


def problems(header: str) -> list[str]:
    """What of a header the library does not have, or has otherwise."""
    found = []
    for name, (result, arguments) in declared(header).items():
        if not hasattr(LIBRARY, name):
            found.append(f"{name} is not exported")
        elif getattr(LIBRARY, name).argtypes is None:
            found.extend([] if name in NOT_IN_BINDINGS else [f"{name} has no types in the bindings"])
        else:
            found.extend(_differences(name, result, arguments))
    return found


def _differences(name: str, result: str, arguments: list[str]) -> list[str]:
    function = getattr(LIBRARY, name)
    theirs = [KINDS.get(one, "pointer") for one in function.argtypes]
    # Where the bindings leave the result at ctypes' default of int, they do not look at it.
    unlooked = function.restype is ctypes.c_int and result == "void"
    returned = "void" if function.restype is None or unlooked else KINDS.get(function.restype, "pointer")
    return (
        [] if (result, arguments) == (returned, theirs) else [f"{name}: {result} {arguments}, not {returned} {theirs}"]
    )


def test_every_declared_function_is_the_librarys() -> None:
    assert len(declared(HEADER.read_text())) > 40
    assert problems(HEADER.read_text()) == []


THREADS = "set_num_threads(LiteRtLmEngineSettings *settings, int "
RATE = "double litert_lm_benchmark_info_get_decode_t"


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("litert_lm_engine_delete(", "litert_lm_engine_destroy(", "not exported"),
        (THREADS, THREADS.replace("int", "float"), "float"),
        ("const char *backend, const char *vision", "const char *vision", "settings_create"),
        (RATE, RATE.replace("double", "float"), "decode_tokens_per_sec"),
    ],
)
def test_drift_is_seen(old: str, new: str, word: str) -> None:
    header = HEADER.read_text()
    assert old in header
    (problem,) = problems(header.replace(old, new))
    assert word in problem
