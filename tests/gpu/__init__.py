"""The GPU backend of LiteRT-LM, on a real GPU or on a CPU Vulkan driver."""
