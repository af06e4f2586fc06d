"""How a RUN step runs: the builder's ``Sandbox``, made of snapshots and the runtime."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.build.interfaces import Layer, RunOutcome, chain_ids
from jupyter_containers.config import build_cache_limit
from jupyter_containers.engine.build import one_id
from jupyter_containers.engine.build.step_mounts import StepMounts
from jupyter_containers.engine.launch.isolation import sandboxing
from jupyter_containers.engine.launch.launcher import Plan
from jupyter_containers.engine.launch.streams import InputFeed, OutputPipes
from jupyter_containers.engine.network import networking
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import EngineError
from jupyter_containers.network import files
from jupyter_containers.oci.image_spec import OCI_LAYER, Descriptor
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.interfaces import OnOutput, RunRequest
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.oci.runtime_spec import Mount
    from jupyter_containers.snapshots.base import Scratch

HOSTNAME = "buildkitsandbox"
LEFT_SHARE = 4
"""What a failed command wrote is kept up to this share of what the build cache may take."""


class BuildSandbox:
    """Implements :class:`~jupyter_containers.build.interfaces.Sandbox`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def run(self, request: RunRequest, *, on_output: OnOutput, cancel: CancelToken) -> RunOutcome:
        """Run a command on a fresh snapshot and keep what it changed."""
        cancel.check()
        chains = chain_ids(request.layers)
        with (
            self._parts.snapshotter.prepare(chains) as scratch,
            StepMounts(self._parts, scratch, request.mounts, cancel) as mounts,
        ):
            status, cause, stubs = self._execute(request, scratch, mounts, on_output, cancel)
            cancel.check()
            if status:
                return RunOutcome(status, self._keep_left(request, scratch, stubs, chains), cause)
            return RunOutcome(0, self._keep(request, scratch, stubs, chains))

    def _execute(
        self, request: RunRequest, scratch: Scratch, mounts: StepMounts, on_output: OnOutput, cancel: CancelToken
    ) -> tuple[int, str, list[str]]:
        launch = self._parts.planner.request(self._plan(request, scratch, mounts.mounts))
        launch["direct"] = True
        launch["log"] = None
        pipes, feed = OutputPipes(), InputFeed(None)
        try:
            process = self._parts.spawner.launch(launch, feed.descriptor, pipes.stdout, pipes.stderr)
            pipes.close_writers()
            mounts.started()
            with process, cancel.calling(process.kill):
                pipes.pump(on_output)
                status = process.wait()
                assert status is not None
                return status["code"], status["cause"], process.created_mountpoints
        finally:
            pipes.close()
            feed.close()

    def _plan(self, request: RunRequest, scratch: Scratch, mounts: list[Mount]) -> Plan:
        planner = self._parts.planner
        root = f"{scratch.directory}/rootfs"
        os.mkdir(root, 0o711)
        network = "none" if request.network == "none" else "host"
        hosts = files.hosts_file(HOSTNAME, [], request.extra_hosts)
        apt, settings = one_id.APT_SETTINGS
        pretending = self._parts.spawner.id_map.kind == "single"
        extra: list[Mount] = [
            {
                "destination": place,
                "type": "none",
                "source": planner.shared_file(name, data, mode=mode),
                "options": ["rbind", "rprivate", "ro"],
            }
            for place, name, data, mode in (
                ("/etc/hosts", "hosts", hosts, 0o644),
                ("/etc/resolv.conf", "resolv", networking.resolv_conf(network), 0o644),
                *([(apt, "apt", settings, 0o644)] if pretending else []),
                *((script.path, "script", script.data, 0o755) for script in request.scripts),
            )
        ]
        options = RunOptions(shm_size=request.shm_size, ulimit=request.ulimits, privileged=request.privileged)
        host = self._parts.host
        confined, env = sandboxing(options, guards_devices=host.guards_devices), request.env
        if pretending and confined.seccomp:
            text = one_id.profile(confined.capabilities, host.kernel, host.machine)
            options = msgspec.structs.replace(options, security_opt=(f"seccomp={text}",))
            confined, env = sandboxing(options, guards_devices=host.guards_devices), (*env, f"APT_CONFIG={apt}")
        return Plan(
            id=f"build-{os.urandom(8).hex()}",
            args=request.argv,
            env=env,
            cwd=request.cwd,
            user=request.user,
            hostname=HOSTNAME,
            network=network,
            options=options,
            sandboxing=confined,
            root=root,
            rootfs=self._parts.snapshotter.mounts(scratch.parents, scratch, volatile=True),
            extra_mounts=[*extra, *mounts],
        )

    def _keep_left(self, request: RunRequest, scratch: Scratch, stubs: list[str], chains: list[Digest]) -> Layer | None:
        """The layer of a command that failed; None where it is too large to be worth the wait, or cannot be kept."""
        with suppress(EngineError):  # a full disk, for instance: what the command said is told all the same
            limit = build_cache_limit(self._parts.paths.root)
            if limit is None or self._parts.trees.usage(scratch.upper).bytes <= limit // LEFT_SHARE:
                return self._keep(request, scratch, stubs, chains)
        return None

    def _keep(self, request: RunRequest, scratch: Scratch, stubs: list[str], chains: list[Digest]) -> Layer:
        """Make the upper directory a layer: a blob, and the extracted directory."""
        store, snapshotter = self._parts.store, self._parts.snapshotter
        with store.ingest() as blob:
            written = snapshotter.diff(
                scratch,
                blob,
                timestamp=request.timestamp,
                exclude=frozenset(stub.lstrip("/") for stub in stubs),
                normalize=True,
            )
            digest = blob.commit()
        chain = Digest.of(f"{chains[-1]} {digest}".encode()) if chains else digest
        snapshotter.commit(scratch, chain, written, store.path(digest))
        return Layer(Descriptor(OCI_LAYER, digest, written.size), digest)
