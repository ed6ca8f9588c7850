"""Small PPO runs for `accelerate launch`: `ppo_worker.py OUT KINDS [STEPS]` makes OUT/KIND for each of `own,shared`.

It runs as where nothing but the training code is installed: importing Prefect, MLflow or DVC fails here. STEPS is
after how many steps to die, leaving a checkpoint.
"""

import json
import sys
from functools import partial
from pathlib import Path

ABSENT = ("prefect", "mlflow", "dvc")

if __name__ == "__main__":
    sys.modules.update(dict.fromkeys(ABSENT))

import torch
from safetensors.torch import save_file

from models.compute import processes
from models.ppo.settings import PpoSettings
from models.ppo.trainer import PpoTrainer
from models.ppo.update import trainable
from models.ppo.value import SharedValue, ValueModel
from models.reward.scoring import RewardSignal, length_signal, model_scorer
from tests.support.rl_models import hearing, llama, llama_reward, lora, prompts

SETTINGS = PpoSettings(episodes=48, batch_size=16, minibatch_size=8, max_new_tokens=10, learning_rate=1e-3, epochs=2,
                       normalise_samples=33, rows_per_batch=8, rows_per_backward=3, kl_target=0.05, checkpoint_every=1)


def make(kind: str, checkpoints: Path) -> PpoTrainer:
    """`kind`: "own" is a whole policy with a critic of its own; "shared" a LoRA policy with a head on its backbone."""
    policy, reward = llama(initializer_range=0.1), llama_reward(initializer_range=0.1)
    if kind == "shared":
        policy = lora(policy)
    return PpoTrainer(
        policy=policy, value=SharedValue(policy) if kind == "shared" else ValueModel.from_reward_model(reward),
        rewards=[RewardSignal("model", model_scorer(reward, 8)), RewardSignal("length", partial(length_signal, None), -0.5)],
        reference=None if kind == "shared" else llama(initializer_range=0.1), stop_ids=frozenset({2}),
        prompts=prompts(20), settings=SETTINGS, checkpoint_dir=checkpoints,
    )


def run(out: Path, kind: str, steps: int | None = None) -> None:
    """Trains; the main process writes `weights.safetensors` and `history.json`, each process the steps it was told."""
    out.mkdir(parents=True, exist_ok=True)
    trainer = make(kind, out / "checkpoints")

    def report(step: int, total: int, metrics: dict[str, float]) -> None:
        with open(out / f"told-{processes.rank()}", "a") as file:
            file.write(f"{step}\n")

    trainer.observer = hearing(
        on_step=report, on_rollout=lambda step, rollout: sys.exit(3) if step == steps else None)
    result = trainer.run()
    tensors = [*trainable(trainer.policy), *trainable(trainer.value)]
    sums = [tensor.detach().clone() for tensor in tensors]
    processes.add_up(sums)
    assert all(torch.equal(s, t * processes.count()) for s, t in zip(sums, tensors, strict=True))  # equal everywhere
    if processes.is_main():
        save_file({str(i): t.detach().contiguous() for i, t in enumerate(tensors)}, out / "weights.safetensors")
        (out / "history.json").write_text(json.dumps(result.history))


if __name__ == "__main__":
    torch.set_num_threads(1)
    processes.start()
    for each in sys.argv[2].split(","):
        run(Path(sys.argv[1]) / each, each, int(sys.argv[3]) if len(sys.argv) > 3 else None)
    processes.stop()
