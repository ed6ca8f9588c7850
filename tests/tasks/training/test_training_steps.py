"""What one optimizer step is: the loss asked for, the same however it is split into batches, at a rate above 0."""

import math

import pytest
import torch

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from models.ppo.losses import chosen_nll
from models.reward.model import reward_model_from_policy
from models.reward.scoring import pool_by_length
from tasks import dpo as dpo_stage, sft as sft_stage
from tasks.config.dpo import NEEDS_SMOOTHING
from tasks.training import reward_model as reward_model_training, trainers as training
from tests.support.tiny_models import make_gpt2
from tests.tasks.training.test_training import config

ROWS = [
    {"id": f"c{i}", "prompt": [{"role": "user", "content": f"What is {i}?"}], "score_gap": 1.0,
     "chosen": [{"role": "assistant", "content": f"It is {i}" + " indeed" * (i % 4) + "."}],
     "rejected": [{"role": "assistant", "content": "no" + " no" * (i % 3)}]}
    for i in range(12)
]
WHOLE = {"batch_size": 12}
EVEN = {"batch_size": 4, "gradient_accumulation": 3}  # 4 + 4 + 4
UNEVEN = {"batch_size": 5, "gradient_accumulation": 3}  # 5 + 5 + 2


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_gpt2(tmp_path_factory.mktemp("base"))


def sft_trainer(base, folder, split):
    cfg, tokenizer = config("sft", **split), load_tokenizer(base)
    rows = sft_stage.tokenise([{**row, "messages": [*row["prompt"], *row["chosen"]]} for row in ROWS], tokenizer)
    return sft_stage.make_trainer(cfg, load_policy(base), tokenizer, rows, folder)


def reward_trainer(base, folder, split):
    cfg, tokenizer = config("reward", **split), load_tokenizer(base)
    model = pool_by_length(reward_model_from_policy(load_policy(base)))
    rows = reward_model_training.tokenise(ROWS, tokenizer, use_margin=False)
    return reward_model_training.make_trainer(cfg, cfg.runtime, model, tokenizer, rows, folder)


def dpo_trainer(base, folder, split, losses=("sigmoid", "sft")):
    """Away from where policy and reference agree: there most losses are alike."""
    weights, smoothing = [1.0, 0.5][: len(losses)], 0.1 if set(losses) & set(NEEDS_SMOOTHING) else None
    cfg = config("dpo", **split, loss_types=list(losses), loss_weights=weights, label_smoothing=smoothing)
    policy, tokenizer = load_policy(base), load_tokenizer(base)
    rows = dpo_stage.with_reference(policy, dpo_stage.tokenise(ROWS, tokenizer))
    for place, row in enumerate(rows):
        row["ref_chosen_logps"] -= 0.3 * (place % 5)
        row["ref_rejected_logps"] += 0.2 * (place % 3)
    return dpo_stage.make_trainer(cfg, policy, tokenizer, rows, folder)


def one_step(trainer):
    """Loss and gradient norm of the only optimizer step of a run, which changes weights though it is the first."""
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    assert trainer.state.global_step == trainer.state.max_steps == 1
    assert any(not torch.equal(before[name], p) for name, p in trainer.model.named_parameters())
    logged = next(line for line in trainer.state.log_history if "loss" in line)
    return logged["loss"], logged["grad_norm"]


@pytest.mark.parametrize("trainer", [sft_trainer, reward_trainer, dpo_trainer])
def test_a_step_does_not_depend_on_how_it_is_split_and_is_taken(base, tmp_path, trainer):
    """The last batch is short: averaged as a batch, its two pairs would count more than twice as much as the others."""
    whole, split = (one_step(trainer(base, tmp_path, how)) for how in (WHOLE, UNEVEN))
    assert split == pytest.approx(whole, rel=1e-4)


def test_losses_that_need_smoothing_train(base, tmp_path):
    loss, norm = one_step(dpo_trainer(base, tmp_path, WHOLE, ("exo_pair", "robust")))
    assert math.isfinite(loss) and norm > 0


def test_the_chosen_nll_of_two_rows_worked_by_hand():
    """Row one: 1 and 3 nats over two tokens are 2 a token; row two: 4 over one. What is under the mask is garbage."""
    logprobs = torch.tensor([[-1.0, -3.0, 99.0], [-4.0, 99.0, math.nan]], requires_grad=True)
    losses = chosen_nll(logprobs, torch.tensor([[True, True, False], [True, False, False]]))
    assert losses.tolist() == [2.0, 4.0]
    losses.sum().backward()
    assert logprobs.grad.tolist() == [[-0.5, -0.5, 0.0], [-1.0, 0.0, 0.0]]


def test_a_chosen_response_without_tokens_teaches_nothing():
    logprobs = torch.tensor([[-1.0, -3.0]], requires_grad=True)
    loss = chosen_nll(logprobs, torch.zeros(1, 2, dtype=torch.bool))
    loss.sum().backward()
    assert loss.tolist() == [0.0] and logprobs.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("share, steps, warm", [
    (0.05, 1, 0), (0.05, 2, 1), (0.05, 226, 12), (1.0, 4, 3), (0.5, 1, 0), (0.0, 10, 0), (0.99, 100, 99),
])
def test_the_warm_up_leaves_a_step_at_the_full_rate(share, steps, warm):
    """Rounded up, as transformers does; but never the whole run, and a share of 1 is no single step."""
    assert training.warmup_steps(share, steps) == warm
