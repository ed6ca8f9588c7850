"""A base from a GGUF file: what is refused, in one line. `make demo-smol` converts a real one."""

from importlib.machinery import ModuleSpec

import pytest

from tasks.demos import gguf_base


@pytest.mark.parametrize("installed, content, line", [
    (False, b"", "gguf_base: the package gguf is not installed; pip install gguf==0.19.0"),
    (True, None, "gguf_base: {file} does not exist; give --gguf the path of a .gguf file"),
    (True, b"no weights", "gguf_base: {file} cannot be read ("),
])
def test_what_is_refused_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, installed, content, line):
    monkeypatch.setattr(gguf_base, "find_spec", lambda name: ModuleSpec(name, None) if installed else None)
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)
    assert gguf_base.main(["--gguf", str(file), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(line.format(file=file)) and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()
