"""Odd but legal prefixes of buckets, for the inbox and for DVC's remote, on real S3 servers: there and back, and gone."""

import json
import sys

import pytest
from configobj import ConfigObj

from tests.support.intake_project import INBOX, make_project
from tests.support.s3_servers import moto, rclone  # noqa: F401  fixtures

pytestmark = pytest.mark.services
PREFIXES = ["a b", "a+b", "a#b", "a%41b", "a=b&c", "a,b;c", "käse 日本", "x/y.z/~w", "[a] *", "it's", "a@b:c"]


@pytest.fixture(scope="module", params=["moto", "rclone"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_intake_push_pull_forget_and_gc(prefix, server, tmp_path):
    bucket = server.bucket()
    server.put(bucket, {f"{prefix}/{key}": content for key, content in INBOX.items()})
    project = odd_project(tmp_path, server, bucket, prefix)
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


@pytest.mark.parametrize("prefix", ["a?b", "a{b}"])
def test_a_prefix_that_dvc_loses_is_refused_by_name(prefix, moto, tmp_path):  # noqa: F811
    bucket = moto.bucket()
    moto.put(bucket, {f"{prefix}/{key}": content for key, content in INBOX.items()})
    answer = odd_project(tmp_path, moto, bucket, prefix).intake()
    assert answer.returncode == 1 and f"DVC cannot store at s3://{bucket}/{prefix}/dvc" in answer.stderr
    assert all(key.startswith(f"{prefix}/in/") for key in keys(moto, bucket)), "nothing was stored elsewhere"


def odd_project(tmp_path, server, bucket, prefix):
    """`dvc remote add` itself cannot write all letters, so the address is written as a person would write it."""
    project = make_project(tmp_path, server, f"s3://{bucket}/{prefix}/in")
    settings = ConfigObj(str(project.folder / ".dvc" / "config"), encoding="utf-8", interpolation=False)
    settings['remote "store"'] = {"url": f"s3://{bucket}/{prefix}/dvc"}
    settings.write()
    project.do("git", "commit", "-qam", "remote")
    project.do("git", "push", "-q", "origin", "main")
    return project


def keys(server, bucket):
    listed = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [one["Key"] for page in listed for one in page.get("Contents", ())]
