"""Whole-process comparison of snapstore with its rivals; nothing in the package imports it."""
