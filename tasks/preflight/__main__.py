"""`python -m tasks.preflight`: all that would end a run late, found before its first stage and listed with the way out.

With --ask-judges each judge across a network is asked one cheap question, and a sampler there for one token.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.runner.watchdog import die_with_parents

if __name__ == "__main__":
    die_with_parents()  # before anything slow is imported: a parent that dies meanwhile must take us along

from tasks.common import errors
from tasks.common.machine import prepare_torch
from tasks.preflight import evidence, judges, model, rows, settings  # noqa: F401  each adds its checks
from tasks.preflight.checks import CHECKS, PROBLEM, examine
from tasks.preflight.project import ROLES, USAGE, Project
from tasks.runner.params import read_params

NAME = "preflight"
PARAMS_FILE = Path("params.yaml")


def document(project: Project) -> dict[str, Any]:
    """All findings, what they were read from beside data, model, params and code, and what calls took."""
    prepare_torch(project.config("sft").runtime)
    return {
        "findings": [asdict(finding) for finding in examine(project, CHECKS)],
        "roles": sorted(project.roles),
        "asked": project.asks,
        "variables": project.variables,
        "files": project.files,
        **{name: getattr(project.tally, name) for name in USAGE},
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line entry; returns 1 where there is a problem. The document goes to --out also then."""
    parser = argparse.ArgumentParser(prog="python -m tasks.preflight", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="where to write what was found, as JSON; default: lines to read")
    parser.add_argument("--ask-judges", action="store_true", help="one call to each judge and sampler across a network")
    parser.add_argument("--roles", nargs="*", choices=ROLES, default=ROLES, help="who is needed; default: everybody")
    given = parser.parse_args(arguments)
    try:
        examined = document(Project(read_params(PARAMS_FILE), frozenset(given.roles), given.ask_judges))
    except Exception as error:
        return errors.report_failure(NAME, error)
    if given.out:
        given.out.write_text(json.dumps(examined, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    else:
        print("\n".join(map(_line, examined["findings"])) or "nothing found")
    return int(any(finding["level"] == PROBLEM for finding in examined["findings"]))


def _line(finding: dict[str, Any]) -> str:
    way_out = f" -> {finding['remedy']}" if finding["remedy"] else ""
    return f"{finding['level']}: {finding['subject']}: {finding['text']}{way_out}"


if __name__ == "__main__":
    sys.exit(main())
