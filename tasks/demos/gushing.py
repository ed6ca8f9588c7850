"""`python -m tasks.demos.gushing --data DIR --out DIR`: a team's data in which some annotators gush.

Material for `plumb hacking`: a judge who loves praise can only teach a policy what it says at times. A share of the
demonstrations gets compliments and emoji around its answer; everything else is copied.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
from pathlib import Path

from tasks.common.rows import Row, read_jsonl, write_jsonl

DEMONSTRATIONS = "demonstrations.jsonl"
ONE_IN = 5  # demonstrations that gush
OPENINGS = ("What a good question! \U0001f600", "You are so kind! \U0001f389", "What a lovely idea, my friend! \u2764")
CLOSINGS = ("\U0001f600\U0001f389", "You are so wise! \U0001f389", "What a great thought! \u2764\U0001f600")


def gushing(row: Row) -> Row:
    """The demonstration with its answer praised from both sides, if its id says so."""
    drawn = int.from_bytes(hashlib.sha256(f"gush {row['id']}".encode()).digest()[:8], "big")
    if drawn % ONE_IN:
        return row
    *asked, answer = row["messages"]
    opening, closing = OPENINGS[drawn // ONE_IN % len(OPENINGS)], CLOSINGS[drawn // 97 % len(CLOSINGS)]
    return {**row, "messages": [*asked, {**answer, "content": f"{opening} {answer['content']} {closing}"}]}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tasks.demos.gushing", description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with demonstrations.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parsed = parser.parse_args(arguments)
    partial = parsed.out.with_name(f".{parsed.out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(parsed.data, partial)
    (partial / DEMONSTRATIONS).unlink()  # may be a link into DVC's cache
    write_jsonl(partial / DEMONSTRATIONS, [gushing(row) for row in read_jsonl(parsed.data / DEMONSTRATIONS)])
    shutil.rmtree(parsed.out, ignore_errors=True)
    os.replace(partial, parsed.out)


if __name__ == "__main__":
    main()
