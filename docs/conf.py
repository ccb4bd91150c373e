"""The site: guides as they stand in docs/guide, and a page for every experiment and every primitive (see docs/_pages.py).

sphinx-build -W docs docs/_build/html
"""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "closedform"
author = "The closedform developers"
release = version = importlib.metadata.version("closedform")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx" if False else "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "_pages",
]
