"""Servers and disks that fail intake: one line says what to do, nothing counts, and the next run succeeds."""

import io
import subprocess
import sys

import pytest
from boto3.s3.transfer import TransferConfig

from flows.incoming.inbox import Inbox
from tests.support import s3_servers
from tests.support.intake_project import GOOD, INBOX, demonstration, lines, make_project
from tests.support.ports import free_port
from tests.support.s3_servers import Asked, Proxy, Server, moto, rclone  # noqa: F401

pytestmark = pytest.mark.services
SMALL_DISK = "2m"
LARGE = {"in/demonstrations/large.jsonl": lines(*({**demonstration(i), "note": "x" * 2000} for i in range(1, 2001)))}


@pytest.fixture()
def project(moto, tmp_path):
    """A project whose inbox and DVC remote are at `moto`."""
    bucket = moto.bucket()
    moto.put(bucket, INBOX)
    return make_project(tmp_path, moto, f"s3://{bucket}/in", f"s3://{bucket}/dvc")


def fails(project, *words: str, **environment: str) -> None:
    """Intake ends with one line that has all the words, and nothing counts."""
    answer = project.intake(**environment)
    assert answer.returncode == 1, answer.stdout
    assert answer.stderr.startswith("plumb: ") and answer.stderr.count("\n") == 1, answer.stderr
    for word in words:
        assert word in answer.stderr
    assert project.line() == project.runs() == []
    assert project.server.secret not in answer.stdout + answer.stderr


def succeeds(project, good: dict[str, int] = GOOD) -> None:
    before, answer = project.pulled("main"), project.intake()
    assert answer.returncode == 0, answer.stderr
    assert len(project.line()) == len(project.runs()) == 1
    after = project.pulled()
    assert {n: after[n].count(b"\n") - before.get(n, b"").count(b"\n") for n in good} == good


# --- a server that throttles or cuts ---


def test_throttled_for_a_while(project):
    """Every request is refused once; botocore, s3fs and we ask again."""
    with Proxy(project.server, lambda asked: "slow down" if asked.count == 0 else None) as proxy:
        project.server = proxy.server
        succeeds(project)
    assert sum(asked.count == 1 for asked in proxy.seen) >= len(INBOX)


def test_throttled_for_good(project):
    real = project.server
    with Proxy(real, s3_servers.slow_down) as proxy:
        project.server = proxy.server
        fails(project, "throttles requests", "SlowDown, 3 attempts", "run again later")
    project.server = real
    succeeds(project)


def test_a_download_is_cut_half_way_once(project):
    with Proxy(project.server, lambda asked: "cut" if is_object(asked) and asked.count == 0 else None) as proxy:
        project.server = proxy.server
        succeeds(project)
    assert sum(is_object(asked) and asked.count == 1 for asked in proxy.seen) >= len(INBOX) - 1


def test_a_download_is_cut_half_way_every_time(project):
    real = project.server
    with Proxy(real, lambda asked: "cut" if "b.jsonl" in asked.path else None) as proxy:
        project.server = proxy.server
        fails(project, "in/demonstrations/b.jsonl did not arrive whole in 3 attempts")
    project.server = real
    succeeds(project)


@pytest.mark.parametrize("server", ["moto", "rclone"])
def test_a_bit_is_flipped_on_the_way(server, tmp_path, request):
    """One server sends a checksum along, the other only the MD5 of the bytes."""
    real = request.getfixturevalue(server)
    bucket = real.bucket()
    real.put(bucket, INBOX)
    project = make_project(tmp_path, real, f"s3://{bucket}/in", f"s3://{bucket}/dvc")
    with Proxy(real, lambda asked: "flip" if "b.jsonl" in asked.path and is_object(asked) else None) as proxy:
        project.server = proxy.server
        fails(project, "in/demonstrations/b.jsonl did not arrive whole in 3 attempts")
    project.server = real
    succeeds(project)


@pytest.mark.parametrize("gone", [True, False])
def test_an_object_that_changes_while_it_is_read_waits(project, gone):
    bucket = project.inbox.split("/")[2]
    key = "in/demonstrations/b.jsonl"

    def meddle(asked: Asked) -> None:
        if is_object(asked) and asked.path.endswith(key) and asked.count == 0:
            if gone:
                real.client().delete_object(Bucket=bucket, Key=key)
            else:
                real.put(bucket, {key: INBOX[key] + lines(demonstration(9))})

    real = project.server
    with Proxy(real, meddle) as proxy:
        project.server = proxy.server
        answer = project.intake()
    project.server = real
    assert answer.returncode == 0 and "waits: it changed while it was read" in answer.stdout, answer.stderr
    answer = project.intake()
    assert answer.returncode == 0 and ("Nothing new" in answer.stdout) == gone
    assert project.pulled()["demonstrations.jsonl"].count(b"\n") == (3 if gone else 5)
    assert len(project.line()) == 2 - gone


def test_an_object_that_was_stored_in_parts(moto, tmp_path):
    """Its ETag is not the MD5 of its bytes."""
    bucket = moto.bucket()
    content = lines(*({**demonstration(i), "note": "x" * 90_000} for i in range(1, 101)))
    settings = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20)
    moto.client().upload_fileobj(io.BytesIO(content), bucket, "in/demonstrations/parts.jsonl", Config=settings)
    project = make_project(tmp_path, moto, f"s3://{bucket}/in")
    succeeds(project, {"demonstrations.jsonl": 100})
    assert '-2", ' in project.files()["data/items.intake/objects.jsonl"]


def test_more_objects_than_a_page(moto, monkeypatch):
    """S3 names a thousand at a time."""
    bucket, client = moto.bucket(), moto.client()
    for number in range(1001):
        client.put_object(Bucket=bucket, Key=f"in/verdicts/{number:04}.csv", Body=b"x")
    client.put_object(Bucket=bucket, Key="other/verdicts/1.csv", Body=b"x")
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    found = Inbox(f"s3://{bucket}/in/", 1).objects()
    assert [one.name for one in found] == [f"verdicts/{number:04}.csv" for number in range(1001)]


def is_object(asked: Asked) -> bool:
    return asked.method == "GET" and "/in/" in asked.path


@pytest.mark.parametrize("fault", ["cut", "slow down"])
def test_an_upload_to_the_remote_fails_every_time(project, fault):
    real = project.server
    with Proxy(real, lambda asked: fault if asked.method == "PUT" else None) as proxy:
        project.server = proxy.server
        fails(
            project, "the remote 'store' at s3://", "is not reachable or busy", "run again later", AWS_MAX_ATTEMPTS="1"
        )
    assert any(asked.method == "PUT" for asked in proxy.seen)
    project.server = real
    succeeds(project)


def test_an_upload_is_cut_half_way_once(project):
    with Proxy(project.server, lambda asked: "cut" if asked.method == "PUT" and asked.count == 0 else None) as proxy:
        project.server = proxy.server
        succeeds(project)


# --- a server that refuses ---


def test_the_right_credentials(rclone, tmp_path):
    bucket = rclone.bucket()
    rclone.put(bucket, INBOX)
    succeeds(make_project(tmp_path, rclone, f"s3://{bucket}/in", f"s3://{bucket}/dvc"))


@pytest.mark.parametrize(("change", "words"), [
    ({"AWS_SECRET_ACCESS_KEY": "wrong" * 8}, "refuses the S3 credentials"),
    ({"AWS_ACCESS_KEY_ID": "nobody"}, "refuses the S3 credentials"),
    ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no S3 credentials"),
    ({"AWS_PROFILE": "absent"}, "The config profile (absent) could not be found"),
])  # fmt: skip
def test_wrong_credentials(rclone, tmp_path, change, words):
    bucket = rclone.bucket()
    rclone.put(bucket, INBOX)
    project = make_project(tmp_path, rclone, f"s3://{bucket}/in", f"s3://{bucket}/dvc")
    fails(project, words, **change)
    succeeds(project)


def test_the_remote_takes_other_credentials(moto, rclone, tmp_path):
    """The inbox gives what it has, the remote for the merged data refuses."""
    bucket, elsewhere = moto.bucket(), rclone.bucket()
    moto.put(bucket, INBOX)
    project = make_project(tmp_path, moto, f"s3://{bucket}/in", f"s3://{elsewhere}/dvc")
    project.do("dvc", "remote", "modify", "-q", "--local", "store", "endpointurl", rclone.url)
    fails(project, f"cannot push to the remote 'store' at s3://{elsewhere}/dvc", "credentials")
    project.do("dvc", "remote", "modify", "-q", "--local", "--unset", "store", "endpointurl")
    moto.client().create_bucket(Bucket=elsewhere)
    succeeds(project)


def test_no_such_bucket(moto, project):
    fails(make_elsewhere(project, inbox="s3://no-such-bucket/in"), "the bucket 'no-such-bucket' does not exist")


def test_no_such_remote(moto, project):
    fails(make_elsewhere(project, remote="stor"), "there is no DVC remote 'stor' (known: first, store)")


def test_nobody_answers(project):
    real = project.server
    project.server = Server(f"http://127.0.0.1:{free_port()}", real.key, real.secret)
    fails(project, project.server.url, "does not answer", "AWS_ENDPOINT_URL_S3")
    project.server = real
    succeeds(project)


def make_elsewhere(project, **intake):
    """The project with other params; what is not committed counts, too."""
    file = project.folder / "params.yaml"
    text = file.read_text()
    for key, value in intake.items():
        start = text.index(f"\n  {key}: ", text.index("\nintake:")) + 1
        text = text[:start] + f"  {key}: {value}" + text[text.index("\n", start) :]
    file.write_text(text)
    return project


# --- an origin that refuses ---


def test_a_push_that_is_refused(project):
    hook = project.origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no data on Fridays >&2\nexit 1\n")
    hook.chmod(0o755)
    fails(project, "cannot push to", "no data on Fridays", "nothing was taken in")
    hook.unlink()
    succeeds(project)


def test_an_origin_that_is_gone(project):
    away = project.origin.rename(project.origin.with_name("away"))
    answer = project.intake()
    assert answer.returncode == 1 and answer.stderr.count("\n") == 1 and "`git ls-remote`" in answer.stderr
    away.rename(project.origin)
    succeeds(project)


def test_an_answer_that_is_lost_on_the_way_back(project):
    """The push counts, and the line breaks before we hear of it."""
    hook = project.origin / "hooks" / "post-receive"
    hook.write_text("#!/bin/sh\nkill -9 $PPID\n")
    hook.chmod(0o755)
    succeeds(project)


# --- a disk that is full ---


@pytest.mark.parametrize("full", ["state", "cache", "store"])
def test_a_full_disk(moto, tmp_path, full):
    """A small disk stands where the clone, the cache or the remote is; then there is room again."""
    bucket = moto.bucket()
    moto.put(bucket, LARGE)
    project = make_project(tmp_path, moto, f"s3://{bucket}/in")
    folders = {"state": tmp_path / "state", "cache": project.folder / ".dvc" / "cache", "store": tmp_path / "store"}
    folders[full].mkdir(parents=True, exist_ok=True)
    plumb = f"{sys.executable} -m flows.cli intake"
    small = f"mount -t tmpfs -o size={SMALL_DISK} tmpfs {folders[full]} && exec {plumb}"
    answer = project.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", small], PLUMB_STATE=str(folders["state"])
    )
    if "unshare failed" in answer.stderr:
        pytest.skip(answer.stderr)
    assert answer.returncode == 1, answer.stdout
    assert answer.stderr.startswith("plumb: no space left") and answer.stderr.count("\n") == 1, answer.stderr
    assert project.line() == project.runs() == []
    succeeds(project, {"demonstrations.jsonl": 2000})


# --- secrets ---


def test_no_secret_is_left_anywhere(moto, tmp_path):
    """Not in the project, its state and its cache, not in origin, and not in the data that is stored."""
    secret, login = "planted-SECRET-0123456789", "planted-LOGIN-0123456789"
    server = Server(moto.url.replace("//", f"//user:{login}@"), "planted-KEY-0123456789", secret)
    bucket = moto.bucket()
    moto.put(bucket, INBOX)
    project = make_project(tmp_path, server, f"s3://{bucket}/in")
    answers = [project.intake(), project.intake("--inbox", f"s3://{bucket}x/in")]
    assert [answer.returncode for answer in answers] == [0, 1]
    for answer in answers:
        assert not any(word in answer.stdout + answer.stderr for word in (secret, login, server.key))
    project.git("clone", "-q", str(project.origin), str(tmp_path / "clone"))
    for commit in [*project.line(), *project.runs()]:
        text = project.git("log", "-p", commit)
        assert not any(word in text for word in (secret, login, server.key))
    found = subprocess.run(
        ["grep", "-rlE", f"{secret}|{login}|{server.key}", str(tmp_path)], capture_output=True, text=True
    )
    assert found.stdout == ""
