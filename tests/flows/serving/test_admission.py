"""What is refused before anything is loaded: code, pickles, architectures nobody allowed."""

import json
import pickle
import zipfile

import pytest
import yaml

from flows.serving.admission import objections

ALLOWED = ("LlamaForCausalLM", "Qwen2ForCausalLM")


@pytest.fixture()
def package(tmp_path):
    """A directory that may be promoted; nothing in it is loaded by these tests."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "dtype": "float32"}))
    (folder / "model.safetensors").write_bytes(bytes([0x80, 0x02, 0, 0, 0, 0, 0, 0]) + b"{}")
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"auto_map": 7}}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>"}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def test_a_plain_package_may_be_promoted(package):
    assert objections(package, ALLOWED) == []


def config(package, **changes):
    file = package / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: config(p, auto_map={"AutoModel": "m.Mine"}), "config.json has an auto_map, which names code to run"),
        (lambda p: config(p, vision_config={"auto_map": {}}), "config.json has an auto_map"),
        (lambda p: (p / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["x.T", null]}}'),
         "tokenizer_config.json has an auto_map"),
        (lambda p: (p / "modeling_mine.py").write_text(""), "modeling_mine.py is code beside the weights"),
        (lambda p: (p / "deep").mkdir() or (p / "deep" / "x.PY").write_text(""), "deep/x.PY is code beside"),
        (lambda p: (p / "custom.so").write_bytes(b""), "custom.so is code beside the weights"),
        (lambda p: (p / "m.bin").write_bytes(b""), "m.bin may be a pickle, only safetensors are read"),
        (lambda p: (p / "x.pt").write_bytes(b""), "x.pt may be a pickle"),
        (lambda p: (p / "x.pkl").write_bytes(b""), "x.pkl may be a pickle"),
        (lambda p: (p / "innocent.txt").write_bytes(pickle.dumps([1], protocol=4)), "innocent.txt may be a pickle"),
        (lambda p: zipfile.ZipFile(p / "innocent.model", "w").writestr("x", ""), "innocent.model may be a pickle"),
        (lambda p: config(p, architectures=["MineForCausalLM"]),
         "config.json names MineForCausalLM, which promote.allowed_architectures in params.yaml does not list"),
        (lambda p: config(p, architectures=["LlamaForCausalLM", "MineForCausalLM"]), "names MineForCausalLM"),
        (lambda p: config(p, architectures=None), "config.json names no architecture"),
        (lambda p: (p / "config.json").write_text("[]"), "config.json names no architecture"),
        (lambda p: (p / "config.json").unlink(), "no config.json"),
        (lambda p: (p / "model.safetensors").unlink(), "no *.safetensors"),
    ],
)  # fmt: skip
def test_what_may_not_be_promoted(package, spoil, words):
    spoil(package)
    found = objections(package, ALLOWED)
    assert len(found) == 1 and words in found[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loader_module": "mine.loader"}, "MLmodel is loaded by mine.loader, not by mlflow.transformers"),
        ({"loader_module": "mlflow.transformers", "code": "code"}, "brings code in its flavor python_function"),
        ({"loader_module": "mlflow.transformers", "model_code_path": "m"}, "brings code in its flavor"),
    ],
)
def test_what_mlflow_would_run(package, settings, words):
    (package / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": settings}}))
    assert any(words in text for text in objections(package, ALLOWED))


def test_what_mlflow_writes_for_our_packages_passes(tmp_path_factory):
    from tests.support import registry_toy

    project = registry_toy.shared(tmp_path_factory)
    models = [file.parent for file in (project / "mlartifacts").rglob("MLmodel")]
    assert len(models) == 2
    for model in models:
        assert objections(model, ("GPT2LMHeadModel", "Qwen2ForCausalLM")) == []
