"""The keywords of a build, as docker's flags have them, read into the builder's options."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypedDict

from jupyter_containers.build.options import BuildOptions
from jupyter_containers.engine.build import inputs as build_inputs
from jupyter_containers.engine.build.cache_formats import CarriedCache
from jupyter_containers.engine.build.contexts import NamedContexts
from jupyter_containers.engine.launch.limits import rlimits
from jupyter_containers.engine.options import split_pairs
from jupyter_containers.engine.units import parse_bytes
from jupyter_containers.errors import InvalidInput, UsageError
from jupyter_containers.oci.names import Platform, Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.interfaces import NetworkMode
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.engine.build.inputs import ContextSource
    from jupyter_containers.events import EventSink

ENTITLEMENTS = frozenset({"network.host", "security.insecure"})


class BuildKeywords(TypedDict, total=False):
    """The keywords of a build, named after docker's flags; a list has what the flag takes, once for each."""

    dockerfile: str | None
    file: str | os.PathLike[str] | None
    tag: str | Sequence[str] | None
    build_arg: Mapping[str, str] | Sequence[str] | None
    build_context: Mapping[str, str] | Sequence[str] | None
    target: str | None
    label: Mapping[str, str] | Sequence[str] | None
    no_cache: bool
    no_cache_filter: Sequence[str]
    pull: bool
    platform: str | None
    network: str | None
    secret: Mapping[str, bytes | str] | Sequence[str] | None
    ssh: Sequence[str]
    allow: Sequence[str]
    add_host: Sequence[str]
    shm_size: str | None
    ulimit: Sequence[str]
    output: str | Sequence[str] | None
    cache_to: str | Sequence[str] | None
    cache_from: str | Sequence[str] | None
    timestamps: str | None
    verify: bool
    sink: EventSink
    cancel: CancelToken


def read(
    path: ContextSource | None,
    given: BuildKeywords,
    references: Sequence[Reference],
    directory: Callable[[], Path],
    store: ContentStore,
) -> BuildOptions:
    """The options of a build; ``directory`` makes one for what is fetched or extracted, ``store`` takes in images.

    Raises
    ------
    NotFound, InvalidInput, UsageError, Unavailable
        naming what cannot be had or is not understood.
    """
    secrets = build_inputs.read_secrets(given.get("secret"))
    context = build_inputs.open_context(path, directory, secrets)
    text = given.get("dockerfile")
    if text is None and given.get("file") is None:
        text = context.dockerfile
    text, name, file = build_inputs.find_dockerfile(context.directory, text, given.get("file"))
    wanted = given.get("platform")
    platform = Platform.parse(wanted) if wanted else None
    machine = Platform.of_machine(os.uname().machine)
    named = NamedContexts(_pairs(given.get("build_context")), directory, secrets, store, platform or machine)
    return BuildOptions(
        dockerfile=text,
        name=name,
        ignore_file=file.with_name(f"{file.name}.dockerignore") if file else None,
        context=context.directory,
        identity=context.identity,
        contexts=named.contexts,
        images=named.images,
        aliases=named.aliases,
        target=given.get("target"),
        build_args=_named(_pairs(given.get("build_arg")), "build argument"),
        labels=_named(_pairs(given.get("label")), "label"),
        no_cache=given.get("no_cache", False) or given.get("verify", False),
        keep_times=_keeps_times(given.get("timestamps")),
        no_cache_filter=tuple(name.lower() for name in given.get("no_cache_filter", ())),
        pull="always" if given.get("pull") else "missing",
        platform=platform,
        network=_network(given.get("network")),
        extra_hosts=build_inputs.read_hosts(given.get("add_host", ())),
        secrets=secrets,
        ssh=build_inputs.find_agents(given.get("ssh", ())),
        insecure=_allows_insecure(given.get("allow", ())),
        shm_size=_shm_size(given.get("shm_size")),
        ulimits=_ulimits(given.get("ulimit", ())),
        tags=tuple(str(reference) for reference in references),
    )


def references_of(tags: str | Sequence[str] | None) -> list[Reference]:
    """The names for an image; raises InvalidInput for a digest, which is no name."""
    references = [Reference.parse(text) for text in ([tags] if isinstance(tags, str) else tags or [])]
    for reference in references:
        if reference.digest is not None:
            raise InvalidInput(f"invalid tag {reference.familiar!r}: an image is tagged by name, not by digest")
    return references


def _pairs(given: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    if given is None:
        return {}
    if isinstance(given, str):
        return split_pairs([given])
    from collections.abc import Mapping as MappingType  # noqa: PLC0415 - the name is taken for checking only

    return dict(given) if isinstance(given, MappingType) else split_pairs(given)


def _named(pairs: dict[str, str], what: str) -> dict[str, str]:
    if "" in pairs:
        raise UsageError(f"a {what} without a name: ={pairs['']}", hint="write it as NAME=VALUE")
    return pairs


def _shm_size(text: str | None) -> str | None:
    if text is not None:
        parse_bytes(text, what="size of /dev/shm")
    return text


def _ulimits(texts: Sequence[str]) -> tuple[str, ...]:
    rlimits(texts)
    return tuple(texts)


def _network(name: str | None) -> NetworkMode:
    match name:
        case None | "default":
            return "default"
        case "none":
            return "none"
        case "host":
            return "host"
        case _:
            raise UsageError(f"a build has no network {name!r}", hint="use default, none or host")


def _keeps_times(text: str | None) -> bool:
    if text not in {None, "source", "keep"}:
        raise UsageError(f"invalid timestamps {text!r}", hint="use source (one time for all) or keep")
    return text == "keep"


def _allows_insecure(allowed: Sequence[str]) -> bool:
    if unknown := set(allowed) - ENTITLEMENTS:
        raise UsageError(f"there is nothing called {min(unknown)} to allow", hint="allow security.insecure")
    return "security.insecure" in allowed


def carried(given: str | Sequence[str] | None, direction: str) -> list[CarriedCache]:
    """Where the cache goes to (``to``) or comes from (``from``); errors are those of :meth:`CarriedCache.parse`."""
    texts = [given] if isinstance(given, str) else given or []
    return [CarriedCache.parse(text, direction) for text in texts]
