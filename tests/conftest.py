"""Makes this tree importable as `ansible_collections.rackspread.ha`, beside the collections of the `ansible` package.

`ansible_collections` has no __init__.py anywhere: Python joins the folders of that name on its path into one package.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT / ".collections"))
