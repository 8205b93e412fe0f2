"""Objects and ids: a store over a backend. It knows no files."""
