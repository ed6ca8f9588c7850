"""Which refs of git keep data, and which only say what a run was made of."""

from flows.forgetting import keeping
from flows.git import git
from flows.schedule.retraining import keep_commit


def test_data_of_branches_is_kept_and_data_of_runs_goes_by_what_mlflow_knows(tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")
    commits = {}
    for md5 in ("run", "trained", "intake", "main"):
        (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {md5}\n  path: data\n")
        git(tmp_path, "add", "-A")
        git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", md5)
        commits[md5] = git(tmp_path, "rev-parse", "HEAD")
    git(tmp_path, "update-ref", "refs/heads/run/1", commits["run"])
    git(tmp_path, "update-ref", "refs/plumb/intake", commits["intake"])
    keep_commit(tmp_path, commits["trained"])
    kept = keeping.Kept()
    keeping._keep_branches(kept, tmp_path)
    assert kept.hashes == {"intake", "main"}
