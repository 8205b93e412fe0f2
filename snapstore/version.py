"""The version of this package; the store's format has its own (see docs/format.md)."""

VERSION = "0.1.0"
