"""The options of ``run`` and ``create`` that are about networks."""

from __future__ import annotations

from jupyter_containers.commands.model import Option

NETWORK_OPTIONS = (
    Option(
        "network",
        "Network to join: a name, bridge, host, none or container:NAME",
        None,
        "NAME",
        repeatable=True,
        completes="network",
    ),
    Option("network-alias", "Another name of the container in the network", None, "NAME", repeatable=True),
    Option("ip", "Address in the network", None, "ADDRESS"),
    Option("ip6", "IPv6 address in the network", None, "ADDRESS"),
    Option("mac-address", "Hardware address in the network", None, "ADDRESS"),
    Option("link", "Old way to give a name to another container (not supported)", None, "NAME", repeatable=True),
    Option("publish", "Publish a port of the container", "p", "[[ADDRESS:]PORT:]PORT[/udp]", repeatable=True),
    Option("publish-all", "Publish all exposed ports", "P", kind="bool"),
    Option("expose", "Say that the container serves a port", None, "PORT[/udp]", repeatable=True),
    Option("add-host", "Add a line to /etc/hosts; host-gateway is the host", None, "NAME:ADDRESS", repeatable=True),
    Option("dns", "Name server", None, "ADDRESS", repeatable=True),
    Option("dns-search", "Domain in which names are looked up", None, "DOMAIN", repeatable=True),
    Option("dns-option", "Option of the resolver", None, "OPTION", repeatable=True),
)
