"""`python -m tasks.tools MODULE.FUNCTION ARGUMENTS`: what a tool says, as JSON; ARGUMENTS is a JSON object.

`plumb` starts it and shows the document: the command line imports neither models nor torch.
"""

from __future__ import annotations

import importlib
import json
import sys

from pydantic import validate_call

from tasks.common.errors import one_line


def main(tool: str, arguments: str) -> int:
    """0 with a document on stdout, 1 with one line on stderr."""
    module, _, name = tool.partition(".")
    function = getattr(importlib.import_module(f"tasks.tools.{module}"), name)
    try:
        document = validate_call(function)(**json.loads(arguments))
    except (ValueError, OSError) as error:
        print(one_line(error), file=sys.stderr)
        return 1
    print(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
