"""Changed copies of the tiny pair, and real-shape checkpoints without data."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_mtp.checkpoint.config import read_drafter_config, read_target_config
from edge_mtp.checkpoint.tensors import INDEX_FILE, SINGLE_FILE, open_checkpoint
from tests.checkpoint.synthetic import safetensors_bytes
from tests.scale.checkpoint import PairPaths, real_configs
from tests.scale.shapes import TensorSpec, drafter_tensors, target_tensors

Tensors = dict[str, tuple[str, np.ndarray]]
"""Stored name -> (safetensors dtype, the values as they are stored)."""

TEXT = "model.language_model."
KEPT_LAYERS = (0, 4)
"""A sliding and a full layer of the tiny target that own their caches."""


def copy_pair(pair: PairPaths, directory: Path) -> PairPaths:
    target, drafter = directory / "target", directory / "drafter"
    shutil.copytree(pair.target, target)
    shutil.copytree(pair.drafter, drafter)
    return PairPaths(target, drafter)


def change_json(path: Path, key: str, value: Any) -> None:
    """Sets `key`, a path with dots, in the JSON object in `path`."""
    content = json.loads(path.read_text())
    *way, last = key.split(".")
    inner = content
    for step in way:
        inner = inner[step]
    inner[last] = value
    path.write_text(json.dumps(content))


def read_tensors(directory: Path) -> Tensors:
    checkpoint = open_checkpoint(directory)
    return {name: (info.dtype, checkpoint.read_raw(name)) for name, info in checkpoint.tensors.items()}


def change_tensors(directory: Path, change: Callable[[Tensors], None]) -> None:
    """Writes the single file of weights in `directory` anew after `change`."""
    tensors = read_tensors(directory)
    change(tensors)
    (directory / SINGLE_FILE).write_bytes(safetensors_bytes(tensors))


def shard(directory: Path) -> tuple[Path, Path]:
    """Two shards and an index instead of the single file."""
    tensors = read_tensors(directory)
    names = sorted(tensors)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    shards = directory / "model-00001-of-00002.safetensors", directory / "model-00002-of-00002.safetensors"
    for path, half in zip(shards, halves, strict=True):
        path.write_bytes(safetensors_bytes({name: tensors[name] for name in half}))
    weight_map = {name: path.name for path, half in zip(shards, halves, strict=True) for name in half}
    (directory / INDEX_FILE).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (directory / SINGLE_FILE).unlink()
    return shards


def shorten(pair: PairPaths) -> None:
    """Leaves the target two layers: it is traced in a fifth of the time, and talks nonsense.

    So few layers mostly repeat the last token of the prompt, a line break; random signs in the last norm make the
    next token another one, and a zero row in the head keeps it from being <pad>.
    """
    path = pair.target / "config.json"
    text = json.loads(path.read_text())["text_config"]
    kinds, width = [text["layer_types"][layer] for layer in KEPT_LAYERS], text["hidden_size_per_layer_input"]
    for key, value in (("num_hidden_layers", 2), ("num_kv_shared_layers", 0), ("layer_types", kinds)):
        change_json(path, f"text_config.{key}", value)

    def drop_layers(tensors: Tensors) -> None:
        kept = np.concatenate([np.arange(layer * width, (layer + 1) * width) for layer in KEPT_LAYERS])
        for name in [name for name in tensors if name.startswith(f"{TEXT}layers.")]:
            dtype, values = tensors.pop(name)
            layer, _, rest = name.removeprefix(f"{TEXT}layers.").partition(".")
            if int(layer) in KEPT_LAYERS:
                tensors[f"{TEXT}layers.{KEPT_LAYERS.index(int(layer))}.{rest}"] = dtype, values
        for name, axis in (("embed_tokens_per_layer", 1), ("per_layer_model_projection", 0)):
            dtype, values = tensors[f"{TEXT}{name}.weight"]
            tensors[f"{TEXT}{name}.weight"] = dtype, np.ascontiguousarray(np.take(values, kept, axis))

    def stir(tensors: Tensors) -> None:
        values = tensors[f"{TEXT}norm.weight"][1]
        values ^= np.random.default_rng(1).integers(2, size=values.shape, dtype=np.uint16) << 15  # bfloat16's sign
        tensors[f"{TEXT}embed_tokens.weight"][1][0] = 0

    change_tensors(pair.target, drop_layers)
    change_tensors(pair.target, stir)


def write_hollow_pair(size: str, words: Path, directory: Path) -> PairPaths:
    """A pair with the real configurations and shapes of `size`, of zeros that take no disk; text files of `words`."""
    pair = PairPaths(directory / f"gemma-4-{size}-it", directory / f"gemma-4-{size}-it-assistant")
    for path, config in zip((pair.target, pair.drafter), real_configs(size), strict=True):
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        shutil.copy(words / name, pair.target / name)
    _write_hollow(pair.target, target_tensors(read_target_config(pair.target)))
    _write_hollow(pair.drafter, drafter_tensors(read_drafter_config(pair.drafter)))
    return pair


def _write_hollow(directory: Path, specs: list[TensorSpec]) -> None:
    header: dict[str, Mapping[str, Any]] = {}
    offset = 0
    for spec in specs:
        header[spec.name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": [offset, offset + spec.bytes]}
        offset += spec.bytes
    text = json.dumps(header).encode()
    with (directory / SINGLE_FILE).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for spec in specs:
            if spec.role == "order":  # checked to be a permutation before anything is planned
                file.seek(8 + len(text) + header[spec.name]["data_offsets"][0])
                file.write(np.arange(spec.shape[0], dtype="<i8").tobytes())
        file.truncate(8 + len(text) + offset)
