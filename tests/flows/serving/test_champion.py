"""The pointer to whoever serves: nobody at first, then a package that DVC can fetch, and back."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml
from dvc.repo import Repo

from flows.history import registry
from flows.history.registry import Version
from flows.serving import champion
from flows.storage import data
from tasks.artifacts import champion as stage
from tests.import_closure import ROOT
from tests.support import toy


@pytest.fixture()
def project(tmp_path):
    """A project with nobody in service, whose cache holds a package."""
    folder = toy.make_toy(tmp_path)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "remote").mkdir()
    for name, value in (("remote.empty.url", str(folder / "remote")), ("core.remote", "empty")):  # has nothing of what is asked for
        subprocess.run([sys.executable, "-m", "dvc", "config", name, value], cwd=folder, check=True)
    shutil.copy(ROOT / champion.POINTER, folder / champion.POINTER)
    package = folder / "packaged"
    package.mkdir()
    (package / "config.json").write_text("{}")
    (package / "plumbline.json").write_text(json.dumps({"policy": "a" * 64}))
    (stage_file,) = Repo(str(folder)).add([str(package)])
    return folder, stage_file.outs[0].hash_info.value


def test_nobody_is_what_the_shipped_pointer_names():
    (out,) = yaml.safe_load((ROOT / champion.POINTER).read_text())["outs"]
    assert out["md5"] == champion.NOBODY_MD5
    listing = ROOT / "infra" / "remote" / "files" / "md5" / "3d" / champion.NOBODY_MD5[2:]
    assert [entry["relpath"] for entry in json.loads(listing.read_text())] == [stage.NONE_FILE]


def test_it_names_the_package_of_a_version_and_nobody_again(project):
    folder, md5 = project
    version = Version("toy", 1, "somewhere", {registry.PACKAGE: md5})
    assert champion.point(folder, version) == md5
    assert data.pull(folder) == [folder / champion.POINTER]
    served = folder / "data" / "champion"
    assert stage.is_there(served) and stage.identity(served) == "a" * 64 and not (served / stage.NONE_FILE).exists()
    before = (folder / champion.POINTER).read_bytes()
    champion.point(folder, version)
    assert (folder / champion.POINTER).read_bytes() == before
    champion.point(folder, None)
    assert (folder / champion.POINTER).read_text() == (ROOT / champion.POINTER).read_text()


def test_a_package_that_is_nowhere_is_one_line(project):
    folder, _ = project
    lost = Version("toy", 2, "somewhere", {registry.PACKAGE: "0" * 32 + ".dir"})
    before = (folder / champion.POINTER).read_bytes()
    with pytest.raises(ValueError, match="is neither in the DVC cache of .* nor in a remote"):
        champion.point(folder, lost)
    assert (folder / champion.POINTER).read_bytes() == before
    (folder / champion.POINTER).unlink()
    with pytest.raises(ValueError, match="has no data/champion.dvc"):
        champion.point(folder, None)
