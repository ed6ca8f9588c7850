"""Promotion on a real Prefect server with a real worker, and the promoted model behind `mlflow models serve`."""

import json
import urllib.request

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.history import registry
from flows.hosting import crash_alerts, servers
from tests.support import promotion_worker, registry_toy, toy
from tests.support.ports import free_port
from tests.support.promotion_worker import COMMIT
from tests.support.retrain_services import mailbox, wait_for_run
from tests.support.service_processes import PATIENCE, Service

pytestmark = pytest.mark.services
POOL = "toy"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the toy whose policy asks for approval."""
    folder = tmp_path_factory.mktemp("services") / "toy"
    toy.command(folder.parent, "cp", "-a", str(registry_toy.shared(tmp_path_factory)), str(folder))
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("policy: automatic", "policy: approval"))
    return folder


@pytest.fixture(scope="module")
def environment(project):
    """Of the worker, and of the flow runs that it starts."""
    own = toy.toy_environment(project, PREFECT_HOME=str(project / ".prefect"), PREFECT_WORKER_QUERY_SECONDS="1")
    own |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "true", "PREFECT_LOGGING_LEVEL": "INFO"}
    own |= {"PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "1"}
    return own | {"MLFLOW_TRACKING_URI": f"sqlite:///{project / 'mlflow.db'}", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture(scope="module")
def prefect(project, environment):
    """The API of a server with a worker and the deployment promote/promote."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment |= {"PREFECT_API_URL": url}
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = Service("server", command, project, environment)
    worker = None
    try:
        toy.wait_for(lambda: servers.answers(f"{url}/health"), PATIENCE, lambda: server.log.read_text()[-3000:])
        with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
            deploy(client, project)
            worker = Service("worker", ["prefect", "worker", "start", "--pool", POOL], project, environment)
            yield client
    finally:
        for service in (worker, server):
            if service:
                service.stop()


def deploy(client, project):
    """As `prefect deploy` does: a process pool, and the flow by its module path."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    flow_id = client.create_flow_from_name("promote")
    client.create_deployment(
        flow_id, "promote", entrypoint="flows.promote.promote", work_pool_name=POOL, path=".",
        job_variables={"working_dir": str(project)}, enforce_parameter_schema=False,
    )  # fmt: skip


@pytest.fixture()
def world(project, tmp_path, monkeypatch):
    """The project's own registry, where the worker looks for it; emptied for every test."""
    made = registry_toy.Registry(project, tmp_path, monkeypatch, database=project / "mlflow.db")
    if registry.find_model(made.client, "toy"):
        made.client.delete_registered_model("toy")
    return made


def start(client, asked, compared):
    """Start the deployment, as retraining and the page do."""
    (deployment,) = client.read_deployments()
    parameters = {"candidate": asked.candidate, "gate": asked.gate, "commit": COMMIT, "compared": compared}
    return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id


def answer(client, run_id, approve, comment="looks good"):
    """Fill in the form, as the page does."""
    client.resume_flow_run(run_id, run_input={"approve": approve, "comment": comment, "by": "ada"})


def test_an_approval_is_given_in_the_page_and_no_process_waits_for_it(prefect, world, project):
    asked = world.gate("gpt2")
    run_id = start(prefect, asked, None)
    wait_for_run(prefect, run_id, "Suspended")
    toy.wait_for(lambda: not processes_of(run_id), 30)
    form = prefect.read_flow_run_input(run_id, f"suspended-approve-{asked.gate[:16]}-schema")
    assert set(json.loads(form)["properties"]) == {"approve", "comment", "by"}
    question = prefect.read_flow_run_input(run_id, f"suspended-approve-{asked.gate[:16]}-description")
    for words in ("Promote v1 of toy?", "Verdict **promote**", "superiority: win rate 0.700", "Report: "):
        assert words in question.decode() if isinstance(question, bytes) else question
    assert registry.read(world.client, "toy").aliases == {"challenger": 1}
    answer(prefect, run_id, True)
    run = wait_for_run(prefect, run_id, "Promoted")
    assert "v1 is champion" in run.state.message
    kept = json.loads(registry.read(world.client, "toy").champion.tags[registry.APPROVAL])
    assert kept["approve"] is True and kept["by"] == "ada"


def processes_of(run_id):
    """The living processes that run this flow run."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("PREFECT__FLOW_RUN_ID") == str(run_id)
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_another_promotion_passes_while_an_approval_is_pending(prefect, world):
    """Both candidates were compared with nobody; who is approved second is asked for a new gate."""
    pending = start(prefect, world.gate("qwen2"), None)
    wait_for_run(prefect, pending, "Suspended")
    promotion_worker.promote_there(world.uri, world.root, world.state, world.gate("gpt2"), None)
    answer(prefect, pending, True)
    run = wait_for_run(prefect, pending, "Promoted", "Refused")
    assert run.state.name == "Refused"
    assert run.state.message == "champion is v2, but v1 was compared with none; ask for a new gate"
    assert registry.read(world.client, "toy").aliases == {"champion": 2, "challenger": 1}


def test_a_no_is_a_result(prefect, world):
    run_id = start(prefect, world.gate("gpt2"), None)
    wait_for_run(prefect, run_id, "Suspended")
    answer(prefect, run_id, False, "too terse")
    run = wait_for_run(prefect, run_id, "Refused")
    assert run.state.is_completed() and run.state.message == "v1 was declined by ada: too terse"
    state = registry.read(world.client, "toy")
    assert state.champion is None and "too terse" in state.versions[1].tags[registry.DECISION]


def test_a_question_that_nobody_answers_expires_and_that_is_told(prefect, world, project):
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("approval_hours: 1.0", "approval_hours: 0.001"))
    try:
        with mailbox() as box:
            crash_alerts.ensure(prefect, box.url)
            run_id = start(prefect, world.gate("gpt2"), None)
            wait_for_run(prefect, run_id, "Suspended", "Failed")
            wait_for_run(prefect, run_id, "Failed")
            toy.wait_for(lambda: box.of("failed"), 60)
    finally:
        (project / "params.yaml").write_text(params)
    (letter,) = box.letters
    assert letter["flow"] == "promote" and letter["run"].endswith(str(run_id)) and "never resumed" in letter["text"]
    assert registry.read(world.client, "toy").champion is None


def test_the_command_line_asks_in_the_page(prefect, world, project):
    url = str(prefect.api_url)
    answered = toy.plumb(project, "promote", PREFECT_API_URL=url)
    assert answered.returncode == 0, answered.stderr
    assert "Waits for approval: http://127.0.0.1" in answered.stdout
    run_id = answered.stdout.rsplit("/", 1)[1].strip()
    wait_for_run(prefect, run_id, "Suspended")
    answer(prefect, run_id, True)
    wait_for_run(prefect, run_id, "Promoted")


def test_mlflow_serves_the_champion(world, tmp_path):
    promotion_worker.promote_there(world.uri, world.root, world.state, world.gate("qwen2"), None)
    port = free_port()
    arguments = ["mlflow", "models", "serve", "-m", "models:/toy@champion", "--env-manager", "local"]
    arguments += ["-h", "127.0.0.1", "-p", str(port)]
    server = Service("serve", arguments, tmp_path, toy.toy_environment(world.root, MLFLOW_TRACKING_URI=world.uri))
    try:
        ping = f"http://127.0.0.1:{port}/ping"
        toy.wait_for(lambda: servers.answers(ping), PATIENCE, lambda: server.log.read_text()[-3000:])
        question = {"messages": [{"role": "user", "content": "Can I wash my teddy bear?"}], "max_tokens": 8}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            said = json.load(response)
        said = said[0] if isinstance(said, list) else said
        assert said["choices"][0]["message"]["role"] == "assistant"
        assert isinstance(said["choices"][0]["message"]["content"], str)
    finally:
        server.stop()
