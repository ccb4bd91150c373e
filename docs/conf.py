"""The site: guides as they stand in guide/, and a page for every experiment and every primitive (see _pages.py).

Results are taken from the folders that CLOSEDFORM_RESULTS names (separated as in PATH; ../results if it is not set). What is
not there, or comes from other sources, is computed at small sizes and says so.
"""

import importlib.metadata
import os
import sys
from pathlib import Path

import closedform

HERE = Path(__file__).resolve().parent
GALLERY = os.path.relpath(Path(closedform.__file__).resolve().parent / "gallery", HERE)
sys.path.insert(0, str(HERE))

project = "closedform"
author = "The closedform developers"
copyright = author
release = version = importlib.metadata.version("closedform")

extensions = ["myst_parser", "sphinxcontrib.bibtex", "sphinx_copybutton", "_pages"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = False  # names in signatures are those of jax and jaxtyping too
exclude_patterns = ["_build", "_generated/*.md", "_generated/results", "_generated/shown"]
bibtex_bibfiles = sorted(f"{GALLERY}/references/{path.name}" for path in (HERE / GALLERY / "references").glob("*.bib"))

html_theme = "furo"
html_title = "closedform"
(HERE / "_generated" / "static").mkdir(parents=True, exist_ok=True)  # the figures come later, the path is checked now
html_static_path = ["_static", f"{GALLERY}/static", "_generated/static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["closedform.css", "site.css"]
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
html_theme_options = {"navigation_with_keys": False}  # the arrows scroll wide tables
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
python_maximum_signature_line_length = 88
pygments_style, pygments_dark_style = "tango", "monokai"

_folders = os.environ.get("CLOSEDFORM_RESULTS", str(HERE.parent / "results")).split(os.pathsep)
results_folders = [Path(folder) for folder in _folders if folder]
experiments_shown = os.environ.get("CLOSEDFORM_EXPERIMENTS")  # a few of them, separated by commas; all if not set
if experiments_shown and "xor/phases" not in experiments_shown.split(","):
    raise ValueError(f"CLOSEDFORM_EXPERIMENTS: got {experiments_shown}; allowed: any, but with xor/phases, the front page's")
