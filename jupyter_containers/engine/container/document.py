"""A container as Docker's ``inspect`` shows it: the same names, units and empty values, for scripts that read them.

Source: docs.docker.com, "Engine API", ContainerInspect. ``HostConfig.Options`` is this engine's own: the options as
they were given.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_containers.engine import status
from jupyter_containers.engine.launch import devices, isolation, limits, mounts
from jupyter_containers.engine.network.record import BRIDGE
from jupyter_containers.engine.options import RunOptions, split_pairs
from jupyter_containers.engine.supervision import restart_policy
from jupyter_containers.engine.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jupyter_containers.config import Paths
    from jupyter_containers.engine.network.endpoints import Endpoint
    from jupyter_containers.engine.network.record import NetworkRecord
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.network.ports import Port

_NANO = 10**9
_SHM = 64 << 20


def of(paths: Paths, record: ContainerRecord, now: status.Status, networks: Sequence[NetworkRecord]) -> dict[str, Any]:
    """The document; ``networks`` are those that the container is in."""
    options = record.options
    place = paths.containers / record.id
    return {
        "Id": record.id,
        "Created": status.text(record.created),
        "Path": record.args[0],
        "Args": list(record.args[1:]),
        "State": _state(now),
        "Image": record.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": "" if options.log_driver == "none" else str(place / "log.json"),
        "Name": f"/{record.name}",
        "RestartCount": now.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": isolation.sandboxing(options).apparmor,
        "ExecIDs": None,
        "HostConfig": _host(record),
        "GraphDriver": {
            "Data": {
                "LowerDir": ":".join(str(paths.root / "layers" / each / "diff") for each in reversed(record.chains)),
                "UpperDir": str(place / "upper"),
                "WorkDir": str(place / "work"),
            },
            "Name": "overlay",
        },
        "Mounts": [mounts.describe(point, f"{paths.root}/volumes") for point in record.mounts],
        "Config": _config(record),
        "NetworkSettings": _network_settings(record, networks, running=now.running),
    }


def _state(now: status.Status) -> dict[str, Any]:
    return {
        "Status": now.state,
        "Running": now.running,
        "Paused": now.state == "paused",
        "Restarting": now.state == "restarting",
        "OOMKilled": bool(now.exit and now.exit["oom_killed"]),
        "Dead": False,
        "Pid": now.pid or 0,
        "ExitCode": now.exit["code"] if now.exit else 0,
        "Error": now.exit["cause"] if now.exit else "",
        "StartedAt": status.text(now.started),
        "FinishedAt": status.text(now.exit["finished_at"] if now.exit else 0),
        **({"Health": _health(now.health)} if now.health else {}),
    }


def _health(found: Mapping[str, Any]) -> dict[str, Any]:
    entries = [
        {"Start": status.text(start), "End": status.text(end), "ExitCode": code, "Output": output}
        for start, end, code, output in found["log"]
    ]
    return {"Status": found["status"], "FailingStreak": found["streak"], "Log": entries}


# -- Config: what is the container's own ------------------------------------------------------------------------------


def _config(record: ContainerRecord) -> dict[str, Any]:
    options = record.options
    attached = not options.detach
    volumes: dict[str, dict[str, str]] = {point.target: {} for point in record.mounts if point.anonymous}
    exposed: dict[str, dict[str, str]] = {key: {} for key in (*record.exposed, *(port.key for port in record.ports))}
    return {
        "Hostname": record.hostname,
        "Domainname": options.domainname or "",
        "User": record.user,
        "AttachStdin": attached and options.interactive,
        "AttachStdout": attached,
        "AttachStderr": attached,
        **({"ExposedPorts": exposed} if exposed else {}),
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": attached and options.interactive,
        "Env": list(record.env),
        "Cmd": list(record.args[record.entrypoint :]) or None,
        **({"Healthcheck": msgspec.to_builtins(record.health)} if record.health else {}),
        "Image": record.image,
        "Volumes": volumes or None,
        "WorkingDir": record.cwd,
        "Entrypoint": list(record.args[: record.entrypoint]) or None,
        "OnBuild": None,
        "Labels": dict(record.labels),
        "StopSignal": record.stop_signal,
        "StopTimeout": record.stop_timeout,
    }


# -- HostConfig: what this machine gives it ---------------------------------------------------------------------------


def _host(record: ContainerRecord) -> dict[str, Any]:
    options = record.options
    policy = restart_policy(options.restart)
    sandbox = isolation.sandboxing(options)
    return {
        "Binds": [text for text in options.volume if ":" in text] or None,
        "ContainerIDFile": options.cidfile or "",
        "LogConfig": {"Type": options.log_driver or "json-file", "Config": split_pairs(options.log_opt)},
        "NetworkMode": record.network,
        "PortBindings": _bindings(record.ports),
        "RestartPolicy": {"Name": policy["name"], "MaximumRetryCount": policy["most"]},
        "AutoRemove": options.remove,
        "VolumeDriver": options.volume_driver or "",
        "VolumesFrom": _listed(options.volumes_from),
        "CapAdd": _listed(options.cap_add),
        "CapDrop": _listed(options.cap_drop),
        "CgroupnsMode": options.cgroupns or "private",
        "Dns": list(options.dns),
        "DnsOptions": list(options.dns_option),
        "DnsSearch": list(options.dns_search),
        "ExtraHosts": _listed(options.add_host),
        "GroupAdd": _listed(options.group_add),
        "IpcMode": options.ipc or "shareable",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": options.oom_score_adj or 0,
        "PidMode": options.pid or "",
        "Privileged": options.privileged,
        "PublishAllPorts": options.publish_all,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": _listed(options.security_opt),
        "Tmpfs": dict(text.partition(":")[::2] for text in options.tmpfs) or None,
        "UTSMode": options.uts or "",
        "UsernsMode": options.userns or "",
        "ShmSize": _bytes(options.shm_size) or _SHM,
        "Sysctls": split_pairs(options.sysctl) or None,
        "Annotations": split_pairs(options.annotation) or None,
        "Runtime": options.runtime or "own",
        "ConsoleSize": [0, 0],
        "Isolation": "",
        "Init": options.init or None,
        **_limits(record),
        "MaskedPaths": list(sandbox.masked),
        "ReadonlyPaths": list(sandbox.readonly),
        **({"Mounts": _asked(options)} if options.mount else {}),
        "Options": msgspec.to_builtins(options),
    }


def _limits(record: ContainerRecord) -> dict[str, Any]:
    options = record.options
    memory = record.memory_limit or 0
    swap = _bytes(options.memory_swap) or 2 * memory
    return {
        "CpuShares": options.cpu_shares or 0,
        "Memory": memory,
        "NanoCpus": round((options.cpus or 0) * _NANO),
        "CgroupParent": options.cgroup_parent or "",
        "BlkioWeight": options.blkio_weight or 0,
        "BlkioWeightDevice": _per_device(options.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": _per_device(options.device_read_bps) or None,
        "BlkioDeviceWriteBps": _per_device(options.device_write_bps) or None,
        "BlkioDeviceReadIOps": _per_device(options.device_read_iops) or None,
        "BlkioDeviceWriteIOps": _per_device(options.device_write_iops) or None,
        "CpuPeriod": options.cpu_period or 0,
        "CpuQuota": options.cpu_quota or 0,
        "CpuRealtimePeriod": options.cpu_rt_period or 0,
        "CpuRealtimeRuntime": options.cpu_rt_runtime or 0,
        "CpusetCpus": options.cpuset_cpus or "",
        "CpusetMems": options.cpuset_mems or "",
        "Devices": [_device(text) for text in options.device],
        "DeviceCgroupRules": _listed(options.device_cgroup_rule),
        "DeviceRequests": None,
        "KernelMemory": 0,
        "KernelMemoryTCP": 0,
        "MemoryReservation": _bytes(options.memory_reservation),
        "MemorySwap": swap,
        "MemorySwappiness": options.memory_swappiness,
        "OomKillDisable": options.oom_kill_disable,
        "PidsLimit": options.pids_limit,
        "Ulimits": [
            {"Name": each["type"].removeprefix("RLIMIT_").lower(), "Hard": each["hard"], "Soft": each["soft"]}
            for each in limits.rlimits(options.ulimit)
        ]
        or None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def _listed(texts: Sequence[str]) -> list[str] | None:
    return list(texts) or None


def _bytes(value: str | int | None) -> int:
    return 0 if value is None else parse_bytes(value)


def _bindings(ports: Iterable[Port]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        number = f"{port.first}-{port.last}" if port.last > port.first else str(port.first or "")
        found.setdefault(port.key, []).append({"HostIp": port.host, "HostPort": number})
    return found


def _per_device(texts: Iterable[str], amount: str = "Rate") -> list[dict[str, Any]]:
    pairs = [text.rpartition(":")[::2] for text in texts]
    return [{"Path": path, amount: parse_bytes(value)} for path, value in pairs]


def _device(text: str) -> dict[str, str]:
    source, target, access = devices.parts(text)
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}


def _asked(options: RunOptions) -> list[dict[str, Any]]:
    """What ``--mount`` asked for."""
    points = mounts.read(RunOptions(mount=options.mount))
    return [
        {
            "Type": point.kind,
            **({"Source": point.source} if point.source else {}),
            "Target": point.target,
            **({"ReadOnly": True} if point.read_only else {}),
        }
        for point in points
    ]


# -- networks ---------------------------------------------------------------------------------------------------------


def _network_settings(record: ContainerRecord, networks: Sequence[NetworkRecord], *, running: bool) -> dict[str, Any]:
    bound: dict[str, list[dict[str, str]] | None] = dict.fromkeys(record.exposed)
    for port in record.bound if running else ():
        bindings = bound.get(port.key) or []
        bound[port.key] = [*bindings, {"HostIp": port.host, "HostPort": str(port.first)}]
    known = {each.id: each for each in networks}
    places = {each.name: _place(each, known.get(each.network), running=running) for each in record.endpoints}
    other = {"NetworkID": next((each.id for each in networks if each.name == record.network), "")}
    first = places.get(BRIDGE, _EMPTY)
    return {
        "Bridge": "",
        "SandboxID": record.id if running else "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": bound if running else {},
        "SandboxKey": "",
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{name: first[name] for name in _EMPTY},
        "Networks": places or {record.network: {**_PLACE, **other}},
    }


_EMPTY: dict[str, Any] = {
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}
"""What is also above ``Networks``, of the default network."""
_PLACE: dict[str, Any] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "NetworkID": "",
    **_EMPTY,
    "DriverOpts": None,
}


def _place(each: Endpoint, network: NetworkRecord | None, *, running: bool) -> dict[str, Any]:
    asked = {name: text for name, text in (("IPv4Address", each.ip), ("IPv6Address", each.ip6)) if text}
    found = {**_PLACE, "IPAMConfig": asked or None, "Aliases": list(each.aliases) or None, "NetworkID": each.network}
    if not running:
        return found
    return found | {
        "EndpointID": f"{each.network[:32]}{each.mac.replace(':', ''):0>32}",
        "Gateway": network.gateway if network else "",
        "GlobalIPv6Address": each.address6,
        "GlobalIPv6PrefixLen": _length(network.subnet6) if network and each.address6 else 0,
        "IPAddress": each.address,
        "IPPrefixLen": _length(network.subnet) if network and each.address else 0,
        "IPv6Gateway": network.gateway6 if network and each.address6 else "",
        "MacAddress": each.mac,
    }


def _length(subnet: str) -> int:
    return ip_network(subnet).prefixlen if subnet else 0
