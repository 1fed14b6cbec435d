"""The tiny tokenizer: Gemma's BPE with byte fallback, control tokens at Gemma's ids, 2048 entries."""

import json
import re
from collections import Counter
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.tiny_pair import shapes

SPECIALS = {
    "<pad>": shapes.PAD,
    "<eos>": shapes.EOS,
    "<bos>": shapes.BOS,
    "<unk>": shapes.UNK,
    "<mask>": 4,
    "<|think|>": shapes.THINK,
    "<|channel>": shapes.CHANNEL_START,
    "<channel|>": shapes.CHANNEL_END,
    "<|turn>": shapes.TURN_START,
    "<turn|>": shapes.TURN_END,
}
FIRST_BYTE = 107
PIECES = Regex(r"▁?[A-Za-z]+|▁?[0-9]|\n+|▁+(?=▁)|▁?[^\sA-Za-z0-9▁]+|▁")
CONTROL = re.compile("|".join(re.escape(token) for token in SPECIALS))

CHAT_TEMPLATE = r"""{{- bos_token -}}
{%- set thinking = enable_thinking is defined and enable_thinking -%}
{%- if thinking and messages[0]['role'] != 'system' -%}
    {{- '<|turn>system\n<|think|>\n<turn|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{- '<|turn>' + role + '\n' -}}
    {%- if loop.first and thinking and role == 'system' -%}
        {{- '<|think|>\n' -}}
    {%- endif -%}
    {%- if message['content'] is string -%}
        {{- message['content'] | trim -}}
    {%- else -%}
        {%- for part in message['content'] -%}
            {%- if part['type'] == 'text' -%}
                {{- part['text'] | trim -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- '<turn|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|turn>model\n' -}}
{%- endif -%}
"""


def train(texts: list[str]) -> Tokenizer:
    """Learn merges on the texts with word boundaries, then lay the vocabulary out as Gemma does."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split(PIECES, "isolated")
    letters = [chr(code) for code in range(33, 127)] + ["▁", "\n"]
    learned_size = shapes.VOCAB_SIZE - FIRST_BYTE - 256
    trainer = trainers.BpeTrainer(
        vocab_size=learned_size, initial_alphabet=letters, limit_alphabet=len(letters), show_progress=False
    )
    learner.train_from_iterator((CONTROL.sub("\n", text) for text in texts), trainer)
    learned = json.loads(learner.to_str())["model"]
    pieces = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    return assemble(pieces, [(left, right) for left, right in learned["merges"]])


def assemble(pieces: list[str], merges: list[tuple[str, str]]) -> Tokenizer:
    """pieces [1685] -> tokenizer with 4..106 control and unused ids, 107..362 bytes, then the pieces."""
    by_id = {index: token for token, index in SPECIALS.items()}
    order = [by_id.get(index, f"<unused{index}>") for index in range(FIRST_BYTE)]
    order += [f"<0x{byte:02X}>" for byte in range(256)] + pieces
    if len(order) != shapes.VOCAB_SIZE or max(Counter(order).values()) > 1:
        raise ValueError(f"found {len(order)} entries, needed {shapes.VOCAB_SIZE}; use a larger corpus")
    vocab = {token: index for index, token in enumerate(order)}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", shapes.BOS)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "GemmaTokenizer",
        "add_bos_token": True,
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "model_specific_special_tokens": {
            "think_token": "<|think|>",
            "soc_token": "<|channel>",
            "eoc_token": "<channel|>",
            "sot_token": "<|turn>",
            "eot_token": "<turn|>",
        },
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
        "padding_side": "left",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
