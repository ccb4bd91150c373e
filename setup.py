"""The checkout's root is the package `closedform`, so every folder below it is prefixed here; new folders need no edit."""

from setuptools import find_packages, setup

_folders = find_packages(exclude=["tests*", "docs*", "build*", "results*"])
setup(packages=["closedform", *(f"closedform.{folder}" for folder in _folders)])
