"""Whether an image is the wished one under another name, as admission webhooks write them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slipway_operator.migrations.pods import digest_of


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's name in parts; `repository` with its registry."""

    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        return self.repository.rpartition("/")[2]


def reference(image: str) -> Reference:
    named, _, digest = image.partition("@")
    folder, slash, last = named.rpartition("/")
    name, _, tag = last.partition(":")
    return Reference(f"{folder}{slash}{name}", tag, digest)


def is_rewritten(wished: str, found: str, image_id: str) -> bool:
    """Whether `found` may be what a webhook made of `wished`: from a mirror, or with the digest that its tag has.

    `image_id` is what was planned. This says only that names agree; pods are told apart by digest all the same.
    """
    if wished == found:
        return False
    want, have = reference(wished), reference(found)
    if want.name != have.name:
        return False
    if have.digest:
        return have.digest in (want.digest, digest_of(image_id))
    return (want.tag or "latest") == (have.tag or "latest") and not want.digest
