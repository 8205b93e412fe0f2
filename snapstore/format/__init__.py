"""The promised bytes: everything here is defined by docs/format.md and does no I/O."""
