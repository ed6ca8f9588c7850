"""Whether a server answers, for health checks in containers, whose images need no curl then.

    python -m flows.hosting.healthy URL
"""

import sys

from flows.hosting.servers import answers

if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1], seconds=5.0) else 1)
