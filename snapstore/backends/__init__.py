"""Places that keep named bytes."""

from snapstore.backends.base import DeleteBackend, Listed, ReadBackend, Staged, WriteBackend
from snapstore.backends.local import Durability, LocalBackend
from snapstore.backends.memory import MemoryBackend
from snapstore.backends.names import check_name, is_name
from snapstore.backends.urls import open_backend

__all__ = [
    "DeleteBackend",
    "Durability",
    "Listed",
    "LocalBackend",
    "MemoryBackend",
    "ReadBackend",
    "Staged",
    "WriteBackend",
    "check_name",
    "is_name",
    "open_backend",
]
