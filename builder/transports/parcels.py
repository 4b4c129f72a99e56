"""What is sent to a registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import Image
from builder.trust.cosign import Seal


@dataclass(frozen=True, slots=True)
class Parcel:
    """An image to be sent, and what it is called there.

    Attributes:
        place: where it lies, for messages: ``oci:out:nova-api:31.0.0-r4``.
        repository: ``openstack/nova-api``.
        release: what its tag is in locks and layouts: ``31.0.0-r4``.
        fixed: its tag never gets another content.
        floating: tags that move to it, if they do not name something newer.
        beside: what is to refer to it, by the annotations that name such things in layouts.
        notes: annotations of what refers to it: what a layout says of the image.
        withdrawn: tags of releases of the image that nobody is to use: a floating tag leaves them, backwards too.
        signatures, attestations: that came with it.
        others: the same release for other architectures: one index of all is what tags name then.
        index_signatures: that came with that index.
    """

    image: Image
    place: str
    repository: str
    tag: str
    release: str
    fixed: bool = True
    floating: tuple[str, ...] = ()
    beside: Mapping[str, bytes] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()
    signatures: tuple[Seal, ...] = ()
    attestations: tuple[Seal, ...] = ()
    others: tuple[Parcel, ...] = ()
    index_signatures: tuple[Seal, ...] = ()

    @property
    def every(self) -> tuple[Parcel, ...]:
        """The release for all architectures, this one first."""
        return (self, *self.others)

    @property
    def named(self) -> bytes:
        """What tags name: its manifest; of several architectures their index."""
        if not self.others:
            return self.image.manifest
        return oci.index(
            {
                "mediaType": one.media_type, "digest": one.image.digest, "size": len(one.image.manifest),
                "platform": oci.platform(one.image.config),
            }
            for one in self.every
        )  # fmt: skip

    @property
    def digest(self) -> Digest:
        """The digest of what tags name."""
        return Digest.of(self.named)

    @property
    def named_type(self) -> str:
        """What that is."""
        return oci.INDEX if self.others else self.media_type

    @property
    def media_type(self) -> str:
        """What the manifest says that it is ("Pushing Manifests")."""
        try:
            return str(oci.parse(self.image.manifest).get("mediaType") or oci.MANIFEST)
        except (ValueError, AttributeError):
            return oci.MANIFEST
