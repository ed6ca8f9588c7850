"""Odd but legal prefixes of buckets, for the inbox and for DVC's remote, on real S3 servers: there and back, and gone."""

import json
import sys

import pytest

from tests.support import s3_servers
from tests.support.intake_project import INBOX, make_project

pytestmark = pytest.mark.services
PREFIXES = ["a b", "a+b", "a#b", "a%41b", "a=b&c", "a,b;c", "käse 日本", "x/y.z/~w", "[a] {b}", "it's", "a@b:c", "a?b*"]
SERVERS = {"moto": s3_servers.moto, "rclone": s3_servers.rclone}


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    where = [tmp_path_factory.mktemp("s3") / "files"] if request.param == "rclone" else []
    for folder in where:
        folder.mkdir()
    with SERVERS[request.param](*where) as made:
        yield made


@pytest.mark.parametrize("prefix", PREFIXES)
def test_intake_push_pull_forget_and_gc(prefix, server, tmp_path):
    bucket = server.bucket()
    server.put(bucket, {f"{prefix}/{key}": content for key, content in INBOX.items()})
    project = make_project(tmp_path, server, f"s3://{bucket}/{prefix}/in", f"s3://{bucket}/{prefix}/dvc")
    answer = project.intake()
    assert answer.returncode == 0, answer.stderr
    ledger = project.files()["data/items.intake/objects.jsonl"]
    entries = [json.loads(line) for line in ledger.splitlines()]
    assert {one["key"] for one in entries if one["type"] == "object"} == {f"{prefix}/{key}" for key in INBOX}
    stored = keys(server, bucket)
    assert stored and all(key.startswith((f"{prefix}/in/", f"{prefix}/dvc/files/md5/")) for key in stored)
    assert project.pulled()["demonstrations.jsonl"].count(b"\n") == 4, "a second clone finds it by the pointer alone"
    assert project.intake().returncode == 0 and len(project.line()) == 1, "nothing is taken in twice"
    for command in (["forget", "--row", "d-0"], ["gc", "--yes", "--remote", "store"]):
        done = project.run([sys.executable, "-m", "flows.cli", *command])
        assert done.returncode == 0, done.stdout + done.stderr
    gone = set(stored) - set(keys(server, bucket))
    assert gone and all(key.startswith(f"{prefix}/dvc/") for key in gone)
    assert b"d-0" not in project.pulled()["demonstrations.jsonl"]


def keys(server, bucket):
    listed = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [one["Key"] for page in listed for one in page.get("Contents", ())]
