"""The `.litertlm` container: writing, reading, describing and checking it."""
