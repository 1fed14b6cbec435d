"""What the golden logs are given: prompts, phones, a bundle, and how long things last."""

from typing import Any

from tests.golden.device.phone import sha256

PROMPTS = [
    {"id": "chat-1", "prompt_class": "chat", "text": "Why is the sky blue?"},
    {"id": "chat-2", "prompt_class": "chat", "text": "Was heißt „Gemütlichkeit“ auf Englisch?"},
    {"id": "chat-3", "prompt_class": "chat", "text": "朝ごはんを一つ提案して。", "system": "短く答えて。"},
    {"id": "code-1", "prompt_class": "code", "text": 'def add(a, b):\n\treturn a + b\nRename "a" to x\\y.'},
    {"id": "code-2", "prompt_class": "code", "text": "Write </script> in a JS string 🙂"},
    {"id": "code-3", "prompt_class": "code", "text": "Name three\u2028sorts, \u0001 \u007f."},
]
TWELVE = [
    {"id": f"{name}-{number}", "prompt_class": name, "text": f"{name} task {number}"}
    for name in ("chat", "code")
    for number in range(1, 7)
]
ANDROID = {
    "app_version": "1.0.0", "platform": "android", "os_version": "16", "device_model": "Example Phone 9",
    "soc": "Example G5", "ram_bytes": 12_000_000_000, "cores": 8,
}  # fmt: skip
IPHONE = {
    "app_version": "1.0.0", "platform": "ios", "os_version": "26.1", "device_model": "iPhone0,0",
    "ram_bytes": 8_000_000_000, "cores": 6,
}  # fmt: skip
SETTING = {"ambient_c": 21.5, "brightness": 0.3, "airplane": True, "charger": "unplugged"}
BUNDLE = {
    "file": "example.litertlm", "bytes": 2_810_000_000, "sha256": sha256("bundle"), "has_drafter": True,
    "draft_steps": 3, "manifest_sha256": sha256("manifest"),
}  # fmt: skip


def about(base: dict[str, Any], hour: int, **runtime: Any) -> dict[str, Any]:
    """What the first record says of phone, runtime and bundle."""
    standard = {
        "name": "LiteRT-LM", "version": "0.18.1", "backend": "cpu", "activation": "fp32", "threads": 4,
        "max_context_tokens": 2048, "cache": "warm", "switch": "engine",
    }  # fmt: skip
    wall_time = f"2026-03-01T{hour:02}:00:00.000+01:00"
    return {"wall_time": wall_time, **base, "runtime": standard | runtime, "bundle": BUNDLE, "setting": SETTING}


def lengths(block_s: int, baseline_s: int, max_output_tokens: int, cooldown_s: int = 0) -> dict[str, int]:
    return {
        "warmups": 1, "block_s": block_s, "baseline_s": baseline_s, "cooldown_s": cooldown_s,
        "max_output_tokens": max_output_tokens,
    }  # fmt: skip
