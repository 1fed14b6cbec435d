"""A Vulkan driver for LiteRT-LM's GPU backend: the machine's own, else SwiftShader, which Debian's chromium brings.

SwiftShader computes on the CPU what a GPU would; LiteRT-LM accepts it, Mesa's llvmpipe it refuses.
"""

import os
from collections.abc import Mapping
from ctypes.util import find_library
from pathlib import Path

SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
NVIDIA = Path("/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json")
SYSTEM = Path("/usr/share/vulkan/icd.d")
INSTALL = "apt-get install libvulkan1 chromium"


def find_driver() -> tuple[Mapping[str, str], str]:
    """(environment for the engine, what it is), or ({}, why there is none).

    A driver that the user's environment names wins; a real GPU's wins over SwiftShader.
    """
    if find_library("vulkan") is None:
        return {}, f"no Vulkan loader on this machine; {INSTALL}"
    named = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES")
    if named:
        return _environment(Path(named)), named
    real = [path for path in (NVIDIA, *sorted(SYSTEM.glob("*nvidia*.json"))) if path.is_file()]
    if real and Path("/dev/nvidiactl").exists():
        return _environment(real[0]), str(real[0])
    if SWIFTSHADER.is_file():
        return _environment(SWIFTSHADER), "SwiftShader (on the CPU)"
    return {}, f"no Vulkan driver that LiteRT-LM accepts; {INSTALL}"


def _environment(driver: Path) -> Mapping[str, str]:
    files = {"VK_DRIVER_FILES": str(driver), "VK_ICD_FILENAMES": str(driver)}
    return {**files, "XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR", "/tmp")}
