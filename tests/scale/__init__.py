"""Benchmarks at the size of the real models: checkpoints, exports, the engine, the stock exporter."""
