#!/usr/bin/env bash
# accelerate and torch: a model that was prepared for bfloat16 and whose forward calls its own forward once more, as a
# reference pass inside a loss does.
# Usual guess: autocast ends with the outermost call.
# Seen (torch 2.13.0, accelerate 1.15.0): `prepare` decorates the forward with one autocast object, which remembers one
# state to return to; entered twice, it returns to its own. Autocast stays on for the whole process: evaluation, scores
# and checkpoint comparisons after it run in bfloat16, and nothing says so. Exits with 1 if this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 accelerate==1.15.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import accelerate
import torch

print("torch", torch.__version__, "accelerate", accelerate.__version__)


class WithReference(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x, reference=False):
        if reference:
            with torch.no_grad():
                self.forward(x)
        return self.layer(x)


model = accelerate.Accelerator(cpu=True, mixed_precision="bf16").prepare(WithReference())
left_on = []
for reference in (False, True):
    model(torch.ones(1, 4), reference=reference)
    left_on.append(torch.is_autocast_enabled("cpu"))
product = torch.ones(2, 2) @ torch.ones(2, 2)
print("autocast on after one forward:", left_on[0], "after one that calls itself:", left_on[1])
print("a product of float32 afterwards:", product.dtype)
sys.exit(0 if left_on == [False, True] and product.dtype == torch.bfloat16 else 1)
PYTHON
