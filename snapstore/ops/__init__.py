"""The verbs: each introduces rooms to each other, takes options, returns values, and never prints."""
