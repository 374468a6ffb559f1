"""The supervisor's entry: `python -I -S .../embedded/__main__.py ORDER`.

Started by file name, without site-packages, so that it is quick, small, and the same whatever the
environment says. The first thing it does is to leave its parent, who then has no child to wait for.
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    sys.path.append(str(Path(__file__).resolve().parents[3]))

    from checkstand.storage.embedded.supervisor import main

    main(sys.argv[1])
