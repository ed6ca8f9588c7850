"""What a file or a folder holds, as one hash."""

import hashlib
from pathlib import Path


def content_hash(path: Path) -> str:
    """SHA-256 over the names and bytes of a file or of all files below a folder; what Python compiled there is none."""
    digest = hashlib.sha256()
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.parent.name != "__pycache__")
    if not path.is_dir():
        files = [path]
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else ""
        with open(file, "rb") as handle:
            digest.update(f"{name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
