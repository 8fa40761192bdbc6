"""The S3 server of tests of remotes, and how to reach it."""

from __future__ import annotations

from dataclasses import dataclass

BUCKET = "cries"
KEY_ID, SECRET_KEY = "AKIATESTTESTTESTTEST", "planted-secret-of-s3"  # moto takes any


@dataclass(frozen=True)
class S3:
    """A server and how to reach it."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """What a user exports."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self):
        """boto3's."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
        )

    def keys(self, prefix: str = "") -> list[str]:
        """Of all objects in the bucket."""
        pages = self.client().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=BUCKET, Prefix=prefix)
        return [one["Key"] for page in found for one in page.get("Contents", [])]
