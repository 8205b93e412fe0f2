"""What the scopes os, repos, users and services hold, captured from any root.

Whatever the files of a root hold, a capture ends: what cannot be understood is a warning and is left out, and nothing
of the root is run. Each `capture_*` gives the rows of its scope in the scope's order.
"""
