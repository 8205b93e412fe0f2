"""Live files: what to leave out, what they are, and writing them back."""
