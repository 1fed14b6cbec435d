"""Write the pair as Hugging Face directories with the real checkpoints' names, and read it back."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import Gemma4AssistantForCausalLM, Gemma4ForConditionalGeneration

from tests.tiny_pair import shapes, tokenizer

DATA = Path(__file__).parent.parent / "data" / "tiny"
Pair = tuple[Gemma4ForConditionalGeneration, Gemma4AssistantForCausalLM]


def write_target(model: Gemma4ForConditionalGeneration, words: Tokenizer, folder: Path) -> None:
    """Configuration, bf16 weights under `model.language_model.*`, tokenizer and template."""
    aside = _fresh(folder)
    tokenizer.save(words, aside)
    _write_json(aside / "config.json", shapes.target_config())
    _write_json(aside / "generation_config.json", shapes.generation_config())
    _save(_stored(model, "model.language_model."), aside / "model.safetensors")
    _replace(aside, folder)


def write_drafter(drafter: Gemma4AssistantForCausalLM, folder: Path) -> None:
    """Configuration and bf16 weights; the tied head is stored once, as model.embed_tokens."""
    aside = _fresh(folder)
    _write_json(aside / "config.json", shapes.drafter_config())
    _save(_stored(drafter, ""), aside / "model.safetensors")
    _replace(aside, folder)


def publish(folder: Path) -> None:
    """Move everything made in the folder to its place, so that target and drafter change together."""
    for path in sorted(folder.iterdir()):
        place = DATA / path.name
        if place.is_dir():
            shutil.rmtree(place)
        path.replace(place)
    folder.rmdir()


def read_target(folder: Path = DATA) -> Gemma4ForConditionalGeneration:
    """The stored target in float32, weights still on the bf16 grid."""
    return Gemma4ForConditionalGeneration.from_pretrained(folder / "target", dtype=torch.float32).eval()


def read(folder: Path = DATA) -> Pair:
    """The stored pair in float32, weights still on the bf16 grid."""
    model = read_target(folder)
    drafter = Gemma4AssistantForCausalLM.from_pretrained(folder / "drafter", dtype=torch.float32)
    return model, drafter.eval()


def read_tokenizer(folder: Path = DATA) -> Tokenizer:
    """The stored tokenizer."""
    return Tokenizer.from_file(str(folder / "target" / "tokenizer.json"))


def write_text(path: Path, text: str) -> None:
    """Write aside, then rename."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(text)
    aside.replace(path)


def _stored(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    """State under the prefix in bf16 (integers as they are), without the tied lm_head."""
    return {
        name: (tensor.bfloat16() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
        if name.startswith(prefix) and name != "lm_head.weight"
    }


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path, {"format": "pt"})
    path.chmod(0o644)


def _fresh(folder: Path) -> Path:
    aside = folder.with_name(folder.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    return aside


def _replace(aside: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    aside.replace(folder)


def _write_json(path: Path, value: shapes.Json) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
