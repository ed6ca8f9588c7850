#!/usr/bin/env bash
# Argilla: the JSON export of records that one person answered and another only began to.
# Usual guess: an export tells submitted answers from drafts, and read back it is the same records.
# Seen (argilla 2.8.0): `records.to_json` and `to_list` leave the status of answers out, so a draft looks like what was
# submitted; read back, the submitted answer is a draft as well, and an upload would make it one. Only
# `to_list(flatten=True)` has the status. Exits with 1 if this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check argilla==2.8.0 requests  # imported, not declared
FOLDER=$folder "$folder/venv/bin/python" - <<'PYTHON'
import json
import os
import sys
import uuid
from pathlib import Path

import argilla
from argilla.records._io import GenericIO, JsonIO
from argilla.responses import UserResponse

print("argilla", argilla.__version__)
ann, bob = uuid.uuid4(), uuid.uuid4()
answers = [argilla.Response("better", "first", user_id=ann, status="submitted"),
           argilla.Response("better", "second", user_id=bob, status="draft")]
record = argilla.Record(id="pair-1", fields={"prompt": "Why?"}, responses=answers)
path = Path(os.environ["FOLDER"]) / "records.json"
JsonIO.to_json([record], path)
exported = json.loads(path.read_text())[0]["responses"]["better"]
(back,) = JsonIO._records_from_json(path)
(submitted,) = [answer for answer in back.responses if str(answer.user_id) == str(ann)]
uploaded = UserResponse([submitted], _record=back).status.value
(flat,) = GenericIO.to_list([record], flatten=True)
print("exported:", exported)
print("what was submitted is, read back:", uploaded)
print("flattened:", flat["better.responses.status"])
lost = all("status" not in answer for answer in exported)
sys.exit(0 if lost and uploaded == "draft" and flat["better.responses.status"] == ["submitted", "draft"] else 1)
PYTHON
