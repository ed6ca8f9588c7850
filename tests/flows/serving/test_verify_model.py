"""What is registered is what was packaged, and what it says it is."""

import json

import pytest

from flows.serving.verify_model import compare
from tests.support import tiny_models


def test_an_architecture_that_is_only_named_is_found_out(tmp_path):
    """The allow-list reads `architectures`; what is loaded goes by `model_type`."""
    tiny_models.make_gpt2(tmp_path / "package")
    config = tmp_path / "package" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(ValueError, match="names LlamaForCausalLM in config.json, and loads as GPT2LMHeadModel"):
        compare(tmp_path / "package", tmp_path / "nowhere")
