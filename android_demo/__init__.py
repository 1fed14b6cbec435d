"""The Android app, and the tools that build and check it."""
