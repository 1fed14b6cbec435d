"""Builds and checks the Android app without Google's Maven: `python3 -m android_demo.tools`. Standard library only."""
