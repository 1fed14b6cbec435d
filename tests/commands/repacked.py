"""Writes a bundle's sections anew through the stock builder, which asks for none of them."""

from pathlib import Path

import litert_lm_builder as stock

from edge_mtp import names
from edge_mtp.bundle.reader import Bundle


def without(bundle: Bundle, left_out: str, path: Path) -> Path:
    """All of `bundle` but the sections of this name or data type."""
    builder = stock.LitertLmFileBuilder()
    builder.add_system_metadata(stock.Metadata(key="Authors", value="a test", dtype=stock.DType.STRING))
    for section in bundle.sections:
        if left_out in (section.name, section.data_type):
            continue
        file = path.with_name(f"{section.name}.zlib")  # as the builder wants a packed tokenizer to be called
        file.write_bytes(bundle.section_bytes(section))
        if section.data_type == "HF_Tokenizer_Zlib":
            builder.add_hf_tokenizer(str(file))
        elif section.data_type == "LlmMetadataProto":
            builder.add_llm_metadata(str(file))
        elif section.data_type == "TFLiteModel":
            builder.add_tflite_model(str(file), stock.TfLiteModelType(names.MODEL_TYPES[section.name]))
    with path.open("wb") as out:
        builder.build(out)
    return path
