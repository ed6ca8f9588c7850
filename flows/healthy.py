"""Whether a server answers, for health checks in containers, whose images need no curl then.

    python -m flows.healthy URL
"""

import sys

from flows.servers import answers

if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1], seconds=5.0) else 1)
