"""The verbs on networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import formats, humane
from jupyter_containers.commands.containers import matcher
from jupyter_containers.commands.lifecycle import each
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Lines, NetworkListing, Result
from jupyter_containers.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.network.creation import NetworkKeywords
    from jupyter_containers.engine.views import NetworkSummary

_NETWORK = Argument("NETWORK", completes="network")
_NETWORKS = Argument("NETWORK", maximum=None, completes="network")
_CONTAINER = Argument("CONTAINER", completes="container")
_LABEL = Option("label", "Set a label", None, "KEY=VALUE", repeatable=True)


def network_keywords(arguments: Arguments) -> NetworkKeywords:
    """The keyword arguments of :meth:`Networks.create` for the options that were given."""
    for option, only in (("ipam-driver", "default"), ("scope", "local")):
        if arguments.text(option) not in {None, only}:
            raise UsageError(
                f"--{option} {arguments.text(option)} is not supported", hint=f"leave it out: it is {only}"
            )
    return {
        "driver": arguments.text("driver") or "bridge",
        "subnet": arguments.texts("subnet"),
        "gateway": arguments.texts("gateway"),
        "ip_range": arguments.texts("ip-range"),
        "aux_address": arguments.texts("aux-address"),
        "ipv6": arguments.flag("ipv6"),
        "internal": arguments.flag("internal"),
        "attachable": arguments.flag("attachable"),
        "options": arguments.texts("opt"),
        "labels": arguments.texts("label"),
    }


def _create(context: Context, arguments: Arguments) -> Result:
    made = context.engine().networks.create(arguments.positionals[0], **network_keywords(arguments))
    return Lines((made.id,))


def _ls(context: Context, arguments: Arguments) -> Result:
    keep = matcher(arguments.texts("filter"), _filter)
    form = formats.Format(arguments.text("format"))
    rows = tuple(row for row in context.engine().networks.list() if keep(row))
    quiet, full = arguments.flag("quiet"), arguments.flag("no-trunc")
    if form.plain or quiet:
        return NetworkListing(rows, quiet, full)
    return form.lines([_fields(row, full=full) for row in rows], {"ID": "NETWORK ID"})


def _fields(row: NetworkSummary, *, full: bool) -> dict[str, Any]:
    """The fields that a template may name, as Docker has them, and the subnet."""
    return {
        "ID": row.id if full else humane.short_id(row.id),
        "Name": row.name,
        "Driver": row.driver,
        "Scope": row.scope,
        "IPv4": "true",
        "IPv6": str(bool(row.subnet6)).lower(),
        "Internal": str(row.internal).lower(),
        "CreatedAt": formats.moment(row.created),
        "Subnet": row.subnet,
        **formats.labels(row.labels),
    }


def _filter(text: str) -> Callable[[NetworkSummary], bool]:  # noqa: PLR0911 - one for each filter
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"invalid filter {text!r}", hint="write it as --filter driver=bridge")
    match key:
        case "id":
            return lambda row: row.id.startswith(value)
        case "name":
            return lambda row: value in row.name
        case "driver":
            return lambda row: row.driver == value
        case "scope":
            return lambda row: row.scope == value
        case "type":
            return lambda row: (row.created is None) == (value == "builtin")
        case "dangling":
            return lambda row: (row.created is not None and not row.containers) == (value in {"1", "true"})
        case "label":
            label, given, wanted = value.partition("=")
            return lambda row: label in row.labels and (not given or row.labels[label] == wanted)
        case _:
            raise InvalidInput(
                f"unknown filter {key!r}", hint="filters are id, name, driver, scope, type, dangling and label"
            )


def _inspect(context: Context, arguments: Arguments) -> Result:
    look = context.engine().networks.inspect
    return formats.inspected(arguments.positionals, look, arguments.text("format"))


def _rm(context: Context, arguments: Arguments) -> Result:
    networks = context.engine().networks
    return each(arguments.positionals, lambda name: [networks.remove(name)])


def _prune(context: Context, arguments: Arguments) -> Result:
    removed = context.engine().networks.prune(filters=arguments.texts("filter"))
    return Lines(("Deleted Networks:", *removed) if removed else ())


def _connect(context: Context, arguments: Arguments) -> Result:
    network, container = arguments.positionals
    if arguments.texts("link"):
        raise UsageError("--link is not supported", hint="use --alias: containers of a network find each other by name")
    if arguments.texts("driver-opt"):
        raise UsageError("--driver-opt is not supported", hint="options of a network are given when it is made")
    context.engine().networks.connect(
        network,
        container,
        aliases=arguments.texts("alias"),
        ip=arguments.text("ip") or "",
        ip6=arguments.text("ip6") or "",
        mac_address=arguments.text("mac-address") or "",
        gw_priority=arguments.integer("gw-priority") or 0,
    )
    return Lines(())


def _disconnect(context: Context, arguments: Arguments) -> Result:
    network, container = arguments.positionals
    context.engine().networks.disconnect(network, container, force=arguments.flag("force"))
    return Lines(())


_FILTERS = ("id=", "name=", "driver=", "scope=", "type=", "dangling=true", "label=")
COMMANDS = (
    Command(
        ("network create",),
        "network",
        "Make a network",
        _create,
        (
            Option("driver", "What it is", "d", "DRIVER", default="bridge", choices=("bridge", "macvlan")),
            Option("subnet", "Its addresses; one each for IPv4 and IPv6", None, "ADDRESS/LENGTH", repeatable=True),
            Option("gateway", "The host's address in it", None, "ADDRESS", repeatable=True),
            Option("ip-range", "The part that containers get addresses of", None, "ADDRESS/LENGTH", repeatable=True),
            Option("aux-address", "An address no container gets", None, "NAME=ADDRESS", repeatable=True),
            Option("ipv6", "IPv6 as well", kind="bool"),
            Option("internal", "No way out of it, and none in", kind="bool"),
            Option("opt", "Option of the driver", "o", "NAME=VALUE", repeatable=True),
            _LABEL,
            Option("attachable", "Of use in a swarm only; kept and shown", kind="bool"),
            Option("ipam-driver", "How addresses are given out", None, "NAME", default="default"),
            Option("scope", "Where it is", None, "NAME", default="local"),
        ),
        (Argument("NETWORK"),),
        examples=("network create backend", "network create --subnet 10.5.0.0/24 --internal db"),
        python=("networks.create",),
    ),
    Command(
        ("network ls", "network list"),
        "network",
        "List networks",
        _ls,
        (
            Option("filter", "Keep those that match", "f", "KEY=VALUE", repeatable=True, offers=_FILTERS),
            formats.FORMAT,
            Option("no-trunc", "Show ids in full", kind="bool"),
            Option("quiet", "Show ids only", "q", kind="bool"),
        ),
        python=("networks.list",),
    ),
    Command(
        ("network inspect",),
        "network",
        "Show everything known of networks, as JSON",
        _inspect,
        (formats.TEMPLATE,),
        arguments=(_NETWORKS,),
        python=("networks.inspect",),
    ),
    Command(
        ("network rm", "network remove"),
        "network",
        "Remove networks",
        _rm,
        arguments=(_NETWORKS,),
        python=("networks.remove",),
    ),
    Command(
        ("network prune",),
        "network",
        "Remove the networks no container is in",
        _prune,
        (
            Option("filter", "Only what matches: until=24h, label=KEY, label!=KEY", None, "KEY=VALUE", repeatable=True),
            Option("force", "Nothing is asked in any case", "f", kind="bool"),
        ),
        python=("networks.prune",),
    ),
    Command(
        ("network connect",),
        "network",
        "Put a container into a network, also while it runs",
        _connect,
        (
            Option("alias", "Another name of the container in the network", None, "NAME", repeatable=True),
            Option("ip", "Its address", None, "ADDRESS"),
            Option("ip6", "Its IPv6 address", None, "ADDRESS"),
            Option("mac-address", "Its hardware address", None, "ADDRESS"),
            Option("gw-priority", "The highest one has the way out", None, "NUMBER", kind="integer"),
            Option("link", "Not supported: use --alias", None, "NAME", repeatable=True),
            Option("driver-opt", "Not supported", None, "KEY=VALUE", repeatable=True),
        ),
        (_NETWORK, _CONTAINER),
        examples=("network connect --alias db backend postgres",),
        python=("networks.connect",),
    ),
    Command(
        ("network disconnect",),
        "network",
        "Take a container out of a network, also while it runs",
        _disconnect,
        (Option("force", "It is no error if it is not in it", "f", kind="bool"),),
        (_NETWORK, _CONTAINER),
        python=("networks.disconnect",),
    ),
)
