"""Hashes of files and folders: what is in them counts, names too; what Python leaves beside code does not."""

import shutil

from tasks.common.hashes import content_hash


def test_a_folder_is_its_names_and_bytes(tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "one.py").write_text("x = 1\n")
    before = content_hash(code)
    (code / "__pycache__").mkdir()
    (code / "__pycache__" / "one.cpython-311.pyc").write_bytes(b"compiled")
    assert content_hash(code) == before
    shutil.copytree(code, tmp_path / "copy")
    assert content_hash(tmp_path / "copy") == before
    (code / "one.py").rename(code / "two.py")
    assert content_hash(code) != before != content_hash(code / "two.py")
