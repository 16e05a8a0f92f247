"""Programs of this folder that tests also use as modules."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
