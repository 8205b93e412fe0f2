"""The machine: its packages, repositories, users and services, read from any root."""
