"""The S3 inbox: which objects lie in it, and their bytes, whole or not at all.

Keys, session and endpoint come from the environment alone, under boto3's own names (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_S3, …); no message repeats them.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import botocore.exceptions as failures
from botocore.config import Config
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from urllib3.exceptions import HTTPError

from flows.failure import Failure, in_one_line
from flows.redact import without_login
from tasks.intake.inbound import printable

CONNECT_SECONDS, READ_SECONDS = 10, 60
LONGEST_WAIT_SECONDS = 20
KEY_CODES = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
    "AuthorizationHeaderMalformed",
}  # fmt: skip
THROTTLING_CODES = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
LOST = (ConnectionError, HTTPError, failures.ConnectionError, failures.HTTPClientError)


class InboxError(Failure):
    """The inbox cannot be read."""


class Changed(Exception):
    """The object is not the one that was listed: somebody stored or removed it meanwhile."""


class _Damaged(Exception):
    """Fewer or other bytes came than S3 named."""


NOT_WHOLE = (_Damaged, failures.IncompleteReadError, failures.ResponseStreamingError, failures.FlexibleChecksumError)


@dataclass(frozen=True, order=True)
class Stored:
    """One object as it was listed; `name` is its key below the inbox, `modified` UTC."""

    key: str
    etag: str
    name: str
    size: int
    modified: str


class Inbox:
    """The objects below s3://BUCKET/PREFIX; `attempts` is how often each request is tried.

    Raises InboxError with one line that says what is wrong and what to do.
    """

    def __init__(self, url: str, attempts: int):
        match = re.fullmatch(r"s3://([^/]+)(?:/(.*))?", url)
        if not match:
            raise InboxError(f"{url!r} is no inbox; write it as s3://BUCKET/PREFIX, in intake.inbox or after --inbox")
        self.url, self.bucket, self._attempts = url, match[1], attempts
        folder = (match[2] or "").strip("/")
        self._prefix = f"{folder}/" if folder else ""
        retries = {"total_max_attempts": attempts, "mode": "standard"}
        config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries=retries)
        try:
            self._client = boto3.session.Session().client("s3", config=config)
        except (failures.BotoCoreError, ValueError) as error:
            raise self._error(error) from error

    def objects(self) -> list[Stored]:
        """What lies in the inbox, by key. Empty objects that stand for folders are passed over."""
        try:
            return sorted(stored for stored in self._listed() if not stored.name.endswith("/"))
        except (*LOST, failures.BotoCoreError, failures.ClientError) as error:
            raise self._error(error) from error

    def _listed(self) -> Iterator[Stored]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._prefix)
        for page in pages:
            for one in page.get("Contents", ()):
                name = one["Key"].removeprefix(self._prefix)
                if name:
                    modified = f"{one['LastModified']:%Y-%m-%dT%H:%M:%SZ}"
                    yield Stored(one["Key"], one["ETag"].strip('"'), name, one["Size"], modified)

    def read(self, stored: Stored) -> tuple[bytes, str | None]:
        """The bytes of an object and its version id (None where the bucket keeps no versions).

        A connection that is cut in the middle is tried again; requests that fail are tried again by botocore. Raises
        Changed when the object is no longer the one listed.
        """
        retrying = Retrying(
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential_jitter(initial=0.2, max=LONGEST_WAIT_SECONDS),
            retry=retry_if_exception_type(NOT_WHOLE),
            reraise=True,
        )
        try:
            return retrying(self._read_once, stored)
        except (*NOT_WHOLE, *LOST, failures.BotoCoreError, failures.ClientError) as error:
            raise self._error(error, stored.key) from error

    def _read_once(self, stored: Stored) -> tuple[bytes, str | None]:
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=stored.key, ChecksumMode="ENABLED")
        except failures.ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise Changed from error
            raise
        etag = answer["ETag"].strip('"')
        if etag != stored.etag:
            raise Changed
        data = answer["Body"].read()
        if len(data) != stored.size:
            raise _Damaged(f"{len(data)} bytes came instead of {stored.size}")
        # Only of objects stored in one piece, and unencrypted or by S3's own key, is the ETag the MD5 of the bytes.
        plain = answer.get("ServerSideEncryption") in (None, "AES256") and "SSECustomerAlgorithm" not in answer
        if plain and re.fullmatch(r"[0-9a-f]{32}", etag) and hashlib.md5(data).hexdigest() != etag:
            raise _Damaged(f"the bytes do not have the MD5 {etag} that S3 names")
        version = answer.get("VersionId")
        return data, None if version == "null" else version

    def _error(self, error: Exception, key: str | None = None) -> InboxError:
        """The failure as one line, without what the server or a library says beyond its code."""
        place = f"s3://{self.bucket}/{printable(key)}" if key else self.url
        endpoint = without_login(self._client.meta.endpoint_url) if hasattr(self, "_client") else "S3"
        if isinstance(error, failures.NoCredentialsError | failures.PartialCredentialsError):
            remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
            return InboxError(f"no S3 credentials for {place}; {remedy}")
        if isinstance(error, failures.ClientError):
            return self._refusal(error, place, endpoint)
        if isinstance(error, NOT_WHOLE):
            what = f"did not arrive whole in {self._attempts} attempts ({in_one_line(error)})"
            return InboxError(f"{place} {what}; run again later", True)
        if isinstance(error, LOST):
            remedy = "check AWS_ENDPOINT_URL_S3 and the network, or run again later"
            return InboxError(f"{endpoint} does not answer ({type(error).__name__}) for {place}; {remedy}", True)
        return InboxError(f"{place} cannot be read: {in_one_line(error)}")

    def _refusal(self, error: failures.ClientError, place: str, endpoint: str) -> InboxError:
        code = str(error.response["Error"].get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in KEY_CODES:
            remedy = "check the AWS_… variables in the environment"
            return InboxError(f"{endpoint} refuses the S3 credentials for {place} ({code}); {remedy}")
        if status == 403:
            remedy = "check the credentials, and that they may list and read it"
            return InboxError(f"{endpoint} forbids reading {place} ({code}); {remedy}")
        if code in ("NoSuchBucket", "404") or status == 404:
            return InboxError(f"the bucket {self.bucket!r} does not exist at {endpoint}; make it, or mend intake.inbox")
        if code in THROTTLING_CODES or status in (429, 503):
            what = f"throttles requests for {place} ({code}, {self._attempts} attempts)"
            return InboxError(f"{endpoint} {what}; run again later", True)
        return InboxError(f"{endpoint} answers {status} {code} for {place}", status >= 500)
