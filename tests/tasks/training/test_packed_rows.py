"""SFT, reward model and DPO on packed rows: TRL's own losses, gradients and metrics on the same batch."""

import logging

import pytest
import torch

from models.chat.template import load_tokenizer
from tasks.training import packed_rows
from tests.support.tiny_architectures import build
from tests.support.tiny_models import make_gpt2, make_qwen2
from tests.support.training_stages import WHOLE, dpo_trainer, reward_trainer, sft_trainer

# Changed where they would not be packed: attention that caps its scores, experts that learn to spread their load.
ARCHITECTURES = {"LlamaForCausalLM": {}, "Gemma2ForCausalLM": {"attn_logit_softcapping": None}, "CohereForCausalLM": {},
                 "MixtralForCausalLM": {"router_aux_loss_coef": 0.0}, "Phi3ForCausalLM": {}}
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": "all-linear"}
TRAINERS = {"sft": sft_trainer, "dpo": dpo_trainer, "reward": reward_trainer}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A model directory of each architecture by name, all with one tokenizer."""
    made = {name: make(tmp_path_factory.mktemp(name)) for name, make in (("gpt2", make_gpt2), ("qwen2", make_qwen2))}
    tokenizer = load_tokenizer(made["qwen2"])
    for name, changes in ARCHITECTURES.items():
        made[name] = tmp_path_factory.mktemp(name)
        build(name, pad_token_id=tokenizer.pad_token_id, **changes).save_pretrained(made[name])
        tokenizer.save_pretrained(made[name])
    return made


def learned(trainer, change=lambda batch: batch):
    """(loss, gradients, metrics) of the trainer's first batch."""
    trainer.create_optimizer_and_scheduler(1)
    loader = trainer.get_train_dataloader()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    batches, items = trainer.get_batch_samples(iter(loader), 1, trainer.args.device)
    loss = trainer.compute_loss(trainer.model, change(dict(batches[0])), num_items_in_batch=items)
    loss.backward()
    gradients = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, {name: values[0] for name, values in trainer._metrics["train"].items()}


def check_equal(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-5)
    assert ours[1].keys() == theirs[1].keys() and ours[2].keys() == theirs[2].keys()
    largest = max(float(gradient.abs().max()) for gradient in theirs[1].values())
    for name, gradient in theirs[1].items():
        assert float((ours[1][name] - gradient).abs().max()) <= 1e-5 * max(largest, 1.0), name
    assert ours[2] == pytest.approx(theirs[2], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
@pytest.mark.parametrize("base", ["gpt2", "qwen2", *ARCHITECTURES])
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_what_a_batch_teaches_is_what_trl_teaches(bases, tmp_path, monkeypatch, stage, base, lora):
    ran = []
    monkeypatch.setattr(packed_rows, "_packed", lambda *inputs, run=packed_rows._packed: ran.append(1) or run(*inputs))
    ours = learned(TRAINERS[stage](bases[base], tmp_path, WHOLE, lora=lora))
    assert ran
    monkeypatch.setattr(f"tasks.{stage}.pack_rows", lambda trainer: None)
    check_equal(ours, learned(TRAINERS[stage](bases[base], tmp_path, WHOLE, lora=lora)))


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
@pytest.mark.parametrize("base", ["qwen2", *ARCHITECTURES])
def test_what_a_comparison_teaches_is_what_trl_teaches(bases, tmp_path, base, lora):
    """Where PAD is no token of a text: else transformers' own pooling reads the wrong place."""

    def by_pad_token(classifier):
        classifier.config.pad_token_id = load_tokenizer(bases[base]).pad_token_id
        return classifier

    ours = learned(reward_trainer(bases[base], tmp_path, WHOLE, lora=lora))
    check_equal(ours, learned(reward_trainer(bases[base], tmp_path, WHOLE, pool=by_pad_token, lora=lora)))


def test_a_batch_without_a_response_token_teaches_nothing(bases, tmp_path):
    def silent(batch):
        return batch | {"labels": torch.full_like(batch["labels"], -100)}

    loss, gradients, metrics = learned(sft_trainer(bases["qwen2"], tmp_path, WHOLE), silent)
    assert loss == 0 and all((gradient == 0).all() for gradient in gradients.values())
    assert metrics["entropy"] == metrics["mean_token_accuracy"] == 0.0


@pytest.mark.parametrize("name", ["FalconMambaForCausalLM", "BambaForCausalLM", "MixtralForCausalLM"])
def test_what_cannot_be_packed_is_padded_and_said_once(bases, tmp_path, monkeypatch, caplog, name):
    tokenizer = load_tokenizer(bases["qwen2"])
    build(name).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    with caplog.at_level(logging.WARNING, logger="tasks.training.packed_rows"):
        trainer = sft_trainer(tmp_path / "base", tmp_path, WHOLE)
        ours = learned(trainer)
    assert [record.message for record in caplog.records if record.name == "tasks.training.packed_rows"] == [
        f"{name} is trained on padded rows: slower, to the same results"]
    monkeypatch.setattr("tasks.sft.pack_rows", lambda trainer: None)
    check_equal(ours, learned(sft_trainer(tmp_path / "base", tmp_path, WHOLE)))


def test_generation_and_plain_logits_are_the_model_s_own(bases, tmp_path):
    trainer = sft_trainer(bases["qwen2"], tmp_path, WHOLE)
    ids = torch.arange(4)[None]
    logits = type(trainer.model).forward(trainer.model, input_ids=ids).logits
    torch.testing.assert_close(trainer.model(input_ids=ids).logits, logits)
    assert trainer.model.generate(ids, max_new_tokens=2, do_sample=False).shape == (1, 6)


def test_a_reward_model_on_padded_rows_says_so(bases, tmp_path, caplog):
    build("BambaForCausalLM").save_pretrained(tmp_path / "base")
    load_tokenizer(bases["qwen2"]).save_pretrained(tmp_path / "base")
    with caplog.at_level(logging.WARNING, logger="tasks.training.packed_rows"):
        reward_trainer(tmp_path / "base", tmp_path, WHOLE)
    assert [record.message for record in caplog.records if record.name == "tasks.training.packed_rows"] == [
        "BambaForSequenceClassification is trained on padded rows: slower, to the same results"]
