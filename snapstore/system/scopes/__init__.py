"""The parts of a system that a snapshot records, one module each: its rows, its tables, and how it is captured."""
