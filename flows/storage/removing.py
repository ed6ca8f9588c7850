"""Files and folders that go."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOOMED = ".doomed"


@dataclass(frozen=True)
class Item:
    """A file or a folder, and what its going frees, in bytes."""

    path: Path
    bytes: int


def folder_item(path: Path) -> Item:
    """A file that has other links, in the cache or in another tree, takes no room of its own."""
    files = (file.lstat() for file in path.rglob("*") if not file.is_dir())
    return Item(path, sum(info.st_size for info in files if info.st_nlink == 1))


def remove(path: Path) -> None:
    """Remove a file or a folder that may be gone already; half a folder is never taken for a whole one."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    doomed = path if path.name.endswith(DOOMED) else path.with_name(f".{path.name}{DOOMED}")
    if doomed != path:
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
    shutil.rmtree(doomed)


def left_over(folder: Path) -> Iterator[Item]:
    """What somebody who was killed had begun to remove."""
    for path in sorted(folder.glob(f"*/.*{DOOMED}")):
        yield folder_item(path)
