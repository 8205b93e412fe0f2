"""A content-addressed, incremental snapshot store that knows the machine."""
