"""The Kubernetes job that Prefect's worker would make of a work pool's template, checked against Kubernetes' schema.

    .services/bin/python tests/support/render_job.py TEMPLATE.json '{"gpus": 2}'

Prints the manifest as JSON; exits with 1 and what is wrong when a schema does not allow it. Run with the environment
that has prefect-kubernetes; imports nothing of ours.
"""

import asyncio
import json
import sys
import uuid

import kubernetes_validate
from jsonschema import Draft202012Validator
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

KUBERNETES = "1.32"


async def render(template: dict, values: dict) -> dict:
    """The manifest for a flow run with these variables."""
    known = template["variables"]["properties"]
    Draft202012Validator({**template["variables"], "additionalProperties": False}).validate(values)
    for name, schema in known.items():
        if "default" in schema:
            Draft202012Validator(schema).validate(schema["default"])
    configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(template, values)
    configuration.prepare_for_flow_run(FlowRun(id=uuid.UUID(int=7), name="brave-bear", flow_id=uuid.uuid4()))
    return configuration.job_manifest


def main(path: str, values: str) -> int:
    with open(path, encoding="utf-8") as file:
        manifest = asyncio.run(render(json.load(file), json.loads(values)))
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        print(error.message, list(error.path), file=sys.stderr)
        return 1
    print(json.dumps(manifest))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
