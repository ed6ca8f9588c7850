"""What a team's servers need once: buckets, and what marks dead flow runs. Repeated, it changes nothing.

    python -m flows.hosting.team_setup BUCKET [BUCKET:versioned ...]

Logins come from the environment: AWS_…, PREFECT_API_URL, PREFECT_API_AUTH_STRING.
"""

import os
import sys
from collections.abc import Sequence

VERSIONED = ":versioned"


def make_bucket(client, name: str, versioned: bool) -> str:
    """Make a bucket unless it is there; returns what was done, in one line. Raises botocore's ClientError."""
    from botocore.exceptions import ClientError

    # Asked first: making a bucket of one's own again succeeds in us-east-1, and fails elsewhere.
    try:
        client.head_bucket(Bucket=name)  # refused if it is somebody else's
        done = "kept"
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket", "NotFound"):
            raise
        client.create_bucket(Bucket=name)
        done = "made"
    if versioned:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return f"bucket {name} {done}"


def main(arguments: Sequence[str]) -> int:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    from flows.hosting import up

    try:
        client = boto3.client("s3")
        for argument in arguments:
            print(make_bucket(client, argument.removesuffix(VERSIONED), argument.endswith(VERSIONED)), flush=True)
        print(up.set_up_server(os.environ.get("PREFECT_API_URL", "")))
    except (ValueError, BotoCoreError, ClientError) as error:
        print(f"setup: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
