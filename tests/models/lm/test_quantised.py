"""Bases that are published quantised: read as the numbers that they stand for, trained and saved as such."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.lm.loading import load_policy
from tests.support.tiny_architectures import ROWS, alone, build

FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])  # E2M1 of the OCP MX format
BLOCK = 16


def in_fp8(tensors):
    """(stored, meant): projections times 16 in fp8, and 1/16 for each block, as DeepSeek V3 is published."""
    stored, meant = dict(tensors), dict(tensors)
    for key, value in tensors.items():
        if value.ndim == 2 and "proj" in key:
            stored[key] = (value * 16).to(torch.float8_e4m3fn)
            rows, columns = (-(-size // BLOCK) for size in value.shape)
            stored[f"{key}_scale_inv"] = torch.full((rows, columns), 1 / 16)
            meant[key] = stored[key].float() / 16
    return stored, meant


def in_mxfp4(tensors):
    """(stored, meant): experts as blocks of 32 numbers of 4 bits with an exponent each, as GPT-OSS is published."""
    stored, meant = dict(tensors), dict(tensors)
    generator = torch.Generator().manual_seed(0)
    for key, value in tensors.items():
        if key.endswith(("experts.gate_up_proj", "experts.down_proj")):
            experts, inputs, outputs = value.shape
            blocks = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8)
            scales = torch.randint(122, 125, blocks.shape[:3], generator=generator, dtype=torch.uint8)
            del stored[key]
            stored |= {f"{key}_blocks": blocks, f"{key}_scales": scales}
            pairs = torch.stack([FP4[(blocks & 15).long()], FP4[(blocks >> 4).long()]], -1).flatten(-2)
            meant[key] = (pairs * 2.0 ** (scales.float() - 127)[..., None]).flatten(-2).transpose(1, 2).contiguous()
    return stored, meant


FORMS = {
    "LlamaForCausalLM": ({}, in_fp8, {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}),
    "DeepseekV3ForCausalLM": ({}, in_fp8, {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}),
    "Qwen3MoeForCausalLM": ({}, in_fp8, {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}),
    "GptOssForCausalLM": ({"hidden_size": 64, "intermediate_size": 64, "head_dim": 16}, in_mxfp4, {
        "quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router"]}),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_quantised_base_is_read_and_saved_as_what_it_stands_for(name, tmp_path):
    changes, quantise, says = FORMS[name]
    build(name, **changes).save_pretrained(tmp_path / "meant")
    shutil.copytree(tmp_path / "meant", tmp_path / "base")
    stored, meant = quantise(load_file(tmp_path / "meant" / "model.safetensors"))
    for folder, tensors in (("base", stored), ("meant", meant)):
        save_file(tensors, tmp_path / folder / "model.safetensors", metadata={"format": "pt"})
    config_file = tmp_path / "base" / "config.json"
    config_file.write_text(json.dumps(json.loads(config_file.read_text()) | {"quantization_config": says}))
    expected = load_policy(tmp_path / "meant")
    policy = load_policy(tmp_path / "base")
    policy.save_pretrained(tmp_path / "saved")
    for model in (policy, load_policy(tmp_path / "saved")):
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        torch.testing.assert_close(alone(model, ROWS[0]), alone(expected, ROWS[0]))
