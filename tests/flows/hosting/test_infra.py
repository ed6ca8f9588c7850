"""What infra/ promises, read from the files themselves; Compose and Kubernetes are asked in test_infra_services.py."""

import json
import re

import pytest
import yaml

from tests.import_closure import ROOT

INFRA = ROOT / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
# What may be said without a person: where to listen, which version, under which name one is known outside.
HARMLESS = {"PLUMB_BIND", "PLUMB_VERSION", "PLUMB_GPU_RUNS", "PREFECT_PUBLIC_URL", "MLFLOW_HOSTS", "OPENAI_API_KEY",
            "PLUMB_ALERT_URL"}  # fmt: skip
SECRET = re.compile(r"PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY|API_KEY")


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_looked_after(name):
    service = SERVICES[name]
    assert service["init"] is True
    assert service["restart"] == ("on-failure" if name == "setup" else "unless-stopped")
    assert service["healthcheck"].get("test") or (name == "setup" and service["healthcheck"] == {"disable": True})
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_a_version(name):
    image = SERVICES[name]["image"]
    assert re.search(r":(\$\{PLUMB_VERSION:-)?\d+\.\d+", image), image
    assert "minio" not in image


def test_nothing_has_a_default_password():
    text = (INFRA / "compose.yaml").read_text()
    uses = set(re.findall(r"\$\{(\w+)([^}]*)\}", text))
    for name, rule in uses:
        assert rule.startswith(":?") or name in HARMLESS, f"{name} has a default or may be empty"
    asked = set(re.findall(r"^(\w+)=$", (INFRA / "env.example").read_text(), re.M))
    assert {name for name, _ in uses} - HARMLESS == asked


@pytest.mark.parametrize("name", SERVICES)
def test_no_login_is_written_out(name):
    for key, value in SERVICES[name]["environment"].items():
        if SECRET.search(key) and not key.endswith(("_PATH", "_USERNAME")):
            assert re.fullmatch(r"\$\{\w+:[?-].*\}", value), f"{key}={value}"
        assert not re.search(r"://[^/@]+:[^/@]+@", str(value)), f"{key} has a login in an address"


def test_what_asks_for_no_login_is_not_published():
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    published = {name: [port.split(":")[-1] for port in found] for name, found in ports.items()}
    assert published == {"postgres": [], "s3": ["8333"], "prefect": ["4200"], "mlflow": ["5000"], "setup": [],
                         "worker-cpu": [], "worker-gpu": []}  # fmt: skip
    assert all(port.startswith("${PLUMB_BIND:-127.0.0.1}:") for found in ports.values() for port in found)


def test_both_servers_keep_everything_in_postgres_and_s3():
    assert SERVICES["prefect"]["environment"]["PREFECT_SERVER_DATABASE_HOST"] == "postgres"
    assert "@postgres" in SERVICES["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]
    assert "@postgres" in (INFRA / "mlflow" / "auth.ini").read_text()
    assert "basic-auth" in SERVICES["mlflow"]["command"] and "--serve-artifacts" in SERVICES["mlflow"]["command"]
    assert {volume.split(":")[0] for one in SERVICES.values() for volume in one.get("volumes", [])
            if not volume.startswith(".")} == set(COMPOSE["volumes"])  # fmt: skip


def test_pools_are_those_of_the_graph():
    from flows.hosting import up

    pools = {service["command"][4] for name, service in SERVICES.items() if name.startswith("worker")}
    assert pools == set(up.pools(ROOT)) == {"cpu", "gpu"}


def test_the_pools_of_a_graph(tmp_path):
    from flows.hosting import up

    stages = {"a": {"meta": {"pool": "big"}}, "b": {"cmd": "x"}, "c": {"foreach": [1], "do": {"meta": {"pool": "gpu"}}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    assert up.pools(tmp_path) == ["big", "cpu", "gpu"]


def test_workers_have_the_clone_in_which_a_deployment_runs():
    """The images hold no git history, and a retraining begins with a clone of a commit."""
    (step,) = yaml.safe_load((INFRA / "prefect.yaml").read_text())["pull"]
    (name,) = re.findall(r"\$(\w+)", json.dumps(step))
    for service in (SERVICES["worker-cpu"], SERVICES["worker-gpu"]):
        assert f"..:{service['environment'][name]}" in service["volumes"]
    for pool in ("work-pool", "gpu-work-pool"):
        template = json.loads((INFRA / "kubernetes" / f"{pool}.json").read_text())
        pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
        (state,) = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "state"]
        assert template["variables"]["properties"]["env"]["default"][name].startswith(f"{state}/")


def test_workers_of_one_machine_share_the_locks_of_its_gpus():
    for service in (SERVICES["worker-cpu"], SERVICES["worker-gpu"]):
        folder = service["environment"]["PLUMB_GPU_LOCKS"]
        assert any(folder.startswith(volume.split(":")[1] + "/") for volume in service["volumes"])


def test_the_images_hold_the_versions_that_were_tested():
    text = (INFRA / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.M)) == {"base", "servers", "worker"}
    built = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert built == {"servers", "worker"}
    assert text.count("pip install --constraint constraints.txt") == text.count("pip install")
    assert re.search(r"^FROM python:3\.11\.\d+-\S+ AS base$", text, re.M) and "USER plumb" in text


@pytest.mark.parametrize("name", ["work-pool", "gpu-work-pool"])
def test_every_variable_of_a_work_pool_is_used_and_declared(name):
    template = json.loads((INFRA / "kubernetes" / f"{name}.json").read_text())
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


def test_a_gpu_job_differs_by_what_a_gpu_needs():
    folder = INFRA / "kubernetes"
    cpu, gpu = (json.loads((folder / f"{name}.json").read_text()) for name in ("work-pool", "gpu-work-pool"))
    more = set(gpu["variables"]["properties"]) - set(cpu["variables"]["properties"])
    assert more == {"gpus", "shared_memory", "node_selector"}
    pod = gpu["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"state": "/state", "scratch": "/scratch", "shm": "/dev/shm"}


def test_set_up_without_a_server_is_one_line():
    from flows.hosting import up

    with pytest.raises(ValueError, match=r"^no Prefect server answers at http://127.0.0.1:9/api; start it"):
        up.set_up_server("http://127.0.0.1:9/api")


def test_heartbeats_that_are_off_are_one_line():
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.hosting import heartbeat

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        with pytest.raises(ValueError, match="PREFECT_FLOWS_HEARTBEAT_FREQUENCY turns heartbeats off"):
            heartbeat.frequency()
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 45}):
        assert heartbeat.frequency() == 45
