"""The compiled kernel; everything else is in pyproject.toml. One extension for every Python from 3.11 on (abi3)."""

from setuptools import Extension, setup

SOURCES = ("native", "chunk", "scan", "readfiles", "writefiles")

setup(
    ext_modules=[
        Extension(
            "snapstore.kernel._native",
            sources=[f"snapstore/kernel/{name}.c" for name in SOURCES],
            depends=["snapstore/kernel/native.h"],
            extra_compile_args=["-O3", "-std=c11", "-Wall", "-Wextra", "-Werror=implicit-function-declaration"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
