"""Log a packaged model directory to MLflow as a chat model.

    python -m flows.history.log_model DIRECTORY --run-id RUN

A process of its own, because the flow never imports torch.
"""

import argparse
import logging
from importlib.metadata import version
from pathlib import Path

REQUIREMENTS = ("torch", "transformers", "accelerate")


def log_model(directory: Path, run_id: str) -> str:
    """Log `directory` (config, safetensors, tokenizer with chat template) under the run; returns the model's URI."""
    import mlflow
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # A tiny model has no licence file and no model card to warn about.
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    model = AutoModelForCausalLM.from_pretrained(directory, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    # Named here, or MLflow infers them by loading the model again, and needs torchvision for that. Without a local
    # part ("+cpu"), which no other machine's index has.
    requirements = [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]
    with mlflow.start_run(run_id=run_id):
        info = mlflow.transformers.log_model(
            {"model": model, "tokenizer": tokenizer}, name="model", task="llm/v1/chat", pip_requirements=requirements
        )
    return info.model_uri


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--run-id", required=True)
    arguments = parser.parse_args()
    print(log_model(arguments.directory, arguments.run_id))
