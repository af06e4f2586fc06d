"""How this process speaks to registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.records import dataclass, field
from jupyter_containers.registry.client import RegistryClient
from jupyter_containers.registry.credentials import DockerConfig
from jupyter_containers.registry.transport import RetryPolicy, Transport

if TYPE_CHECKING:
    from collections.abc import Collection

    from jupyter_containers.registry.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Access:
    """How to speak to registries.

    Parameters
    ----------
    credentials
        Who to be; by default what ``docker login`` stored.
    insecure
        Registries that may be spoken to without encryption; those of this machine (loopback) always may.
    retries
        How often to try.
    """

    credentials: Credentials = field(default_factory=DockerConfig)
    insecure: Collection[str] = ()
    retries: RetryPolicy = field(default_factory=RetryPolicy)

    def client(self, registry: str) -> RegistryClient:
        """A client for one registry."""
        return RegistryClient(Transport(registry, self.credentials, self.insecure, self.retries))
