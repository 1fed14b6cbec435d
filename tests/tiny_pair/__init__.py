"""Makes the tiny trained Gemma 4 pair in tests/data/tiny: `python -m tests.tiny_pair.make`."""
