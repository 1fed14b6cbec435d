import json

import pytest

from edge_mtp.bundle.metadata import KvCache, build_executor_metadata, build_llm_metadata, read_text_format
from edge_mtp.bundle.tokenizer import read_tokenizer
from edge_mtp.errors import CheckpointError
from tests.bundle import models


@pytest.fixture
def checkpoint(tmp_path):
    return models.write_checkpoint(tmp_path / "checkpoint")


def read(checkpoint):
    return read_text_format(checkpoint, read_tokenizer(checkpoint, models.VOCAB))


def edit(path, **changes):
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**values, **changes}))


def stops(metadata):
    return [list(token.token_ids.ids) for token in metadata.stop_tokens]


def test_stop_tokens_are_the_union_of_configuration_and_template(checkpoint):
    metadata = build_llm_metadata(read(checkpoint), 60)
    assert stops(metadata) == [[1], [7]]
    assert list(metadata.start_token.token_ids.ids) == [2]
    assert list(metadata.pad_token.token_ids.ids) == [0]
    assert metadata.max_num_tokens == 60
    assert metadata.jinja_prompt_template == models.TEMPLATE
    assert metadata.llm_model_type.WhichOneof("model_type") == "gemma4"


def test_stop_tokens_come_from_config_json_where_there_is_no_generation_config(checkpoint):
    (checkpoint / "generation_config.json").unlink()
    edit(checkpoint / "config.json", text_config={"eos_token_id": 1, "bos_token_id": 2})
    metadata = build_llm_metadata(read(checkpoint), 60)
    assert stops(metadata) == [[1], [7]]
    assert not metadata.HasField("sampler_params")


def test_a_template_without_turn_end_adds_no_stop_token(checkpoint):
    (checkpoint / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert stops(build_llm_metadata(read(checkpoint), 60)) == [[1]]


def test_stop_token_the_tokenizer_lacks_is_named(checkpoint):
    edit(checkpoint / "generation_config.json", eos_token_id=[1, 5000])
    with pytest.raises(CheckpointError, match="5000"):
        read(checkpoint)


def test_turn_end_the_tokenizer_lacks_is_named(checkpoint):
    specials = [token for token in models.SPECIALS if token != "<turn|>"]
    models.make_tokenizer(specials).save(str(checkpoint / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"<turn\|>"):
        read(checkpoint)


def test_start_token_the_tokenizer_lacks_is_named(checkpoint):
    edit(checkpoint / "generation_config.json", bos_token_id=5000)
    with pytest.raises(CheckpointError, match="5000"):
        read(checkpoint)


def test_checkpoint_without_any_stop_token_is_refused(checkpoint):
    (checkpoint / "generation_config.json").unlink()
    (checkpoint / "chat_template.jinja").write_text("plain")
    with pytest.raises(CheckpointError, match="names no stop token"):
        read(checkpoint)


def test_template_may_lie_in_the_tokenizer_configuration(checkpoint):
    (checkpoint / "chat_template.jinja").unlink()
    edit(checkpoint / "tokenizer_config.json", chat_template=[{"name": "default", "template": "inner <turn|>"}])
    assert build_llm_metadata(read(checkpoint), 60).jinja_prompt_template == "inner <turn|>"


def test_thinking_channel_follows_the_special_tokens(checkpoint):
    metadata = build_llm_metadata(read(checkpoint), 60)
    (channel,) = metadata.channels
    assert (channel.channel_name, channel.start, channel.end) == (
        "thought",
        "<|channel>thought\n",
        "<channel|>",
    )
    assert channel.is_reasoning_channel
    assert metadata.supports_thinking
    off = build_llm_metadata(read(checkpoint), 60, thinking_channel=False)
    assert not off.channels
    assert not off.supports_thinking


def test_tool_markers_are_taken_from_the_vocabulary(checkpoint):
    markers = {"stc_token": "<|tool_call>", "etc_token": "<tool_call|>", "escape_token": '<|"|>'}
    models.make_tokenizer([*models.SPECIALS, *markers.values()]).save(str(checkpoint / "tokenizer.json"))
    edit(checkpoint / "tokenizer_config.json", **markers)
    (checkpoint / "chat_template.jinja").write_text("{% if tools %}{% endif %}<turn|>")
    metadata = build_llm_metadata(read(checkpoint), 60)
    gemma = metadata.llm_model_type.gemma4
    assert (gemma.code_fence_start, gemma.code_fence_end) == ("<|tool_call>", "<tool_call|>")
    assert gemma.open_quote == gemma.close_quote == '<|"|>'
    assert metadata.supports_function_calling


def test_sampling_defaults(checkpoint):
    sampler = build_llm_metadata(read(checkpoint), 60).sampler_params
    assert (sampler.type, sampler.k, round(sampler.p, 4)) == (2, 64, 0.95)
    edit(checkpoint / "generation_config.json", do_sample=False)
    greedy = build_llm_metadata(read(checkpoint), 60).sampler_params
    assert (greedy.type, greedy.k) == (2, 1)


def test_minimum_runtime_version_is_written_where_given(checkpoint):
    assert not build_llm_metadata(read(checkpoint), 60).HasField("min_runtime_version")
    metadata = build_llm_metadata(read(checkpoint), 60, min_runtime_version="0.18.1")
    assert metadata.min_runtime_version == "0.18.1"


def test_damaged_configuration_is_refused(checkpoint):
    (checkpoint / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"generation_config\.json is not valid JSON"):
        read(checkpoint)


def test_full_length_caches_are_global():
    executor = build_executor_metadata([KvCache(0, 64), KvCache(1, 64)], 16).llm_executor_metadata
    key, value = executor.state_buffers[:2]
    assert (key.decode_input_name, key.sequence_axis) == ("kv_cache_k_0", 2)
    assert (value.prefill_output_name, value.sequence_axis) == ("kv_cache_v_0", 3)
    types = {buffer.Type.Name(buffer.type) for buffer in executor.state_buffers}
    assert types == {"TYPE_GLOBAL_KEY_CACHE", "TYPE_GLOBAL_VALUE_CACHE"}
    assert executor.attention_mask_settings.sliding_window_size == 16


def test_rings_are_declared_nowhere():
    """Global they would limit the context, local the GPU would not bind them; tests/gpu runs a prompt past a ring."""
    assert build_executor_metadata([KvCache(0, 32), KvCache(1, 64)], 16) is None
