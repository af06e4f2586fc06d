"""Named contexts of a build that are images or stages: ``oci-layout://``, ``docker-image://``, ``target:``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.interfaces import Layer, ResolvedImage
from jupyter_containers.engine.build import inputs as build_inputs
from jupyter_containers.errors import ImageNotFound, InvalidInput, UsageError
from jupyter_containers.images.loading import load_layout
from jupyter_containers.images.model import Image
from jupyter_containers.oci.image_spec import ANNOTATION_REF_NAME, Descriptor
from jupyter_containers.oci.names import Platform, Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jupyter_containers.content.store import ContentStore

IMAGE: Final = "docker-image://"
LAYOUT: Final = "oci-layout://"
STAGE: Final = "target:"
_NAME: Final = re.compile(
    r"(?P<path>.+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?", re.ASCII
)


class NamedContexts:
    """What ``--build-context`` gives, by name in lower case.

    Attributes
    ----------
    contexts
        A directory, or the name of an image.
    images
        The images among those names that are in no registry and not in the store under that name.
    aliases
        Stages of the Dockerfile itself.
    """

    def __init__(
        self,
        given: Mapping[str, str],
        temporary: Callable[[], Path],
        secrets: Mapping[str, bytes],
        store: ContentStore,
        platform: Platform,
    ) -> None:
        self.contexts: dict[str, Path | str] = {}
        self.images: dict[str, ResolvedImage] = {}
        self.aliases: dict[str, str] = {}
        for text, value in given.items():
            if not text or not value:
                raise UsageError(f"invalid named context {text}={value}", hint="write it as NAME=FOLDER")
            name = text.lower()
            if value.startswith(IMAGE):
                self.contexts[name] = str(Reference.parse(value.removeprefix(IMAGE)))
            elif value.startswith(LAYOUT):
                self.images[value] = _layout_image(value, store, platform)
                self.contexts[name] = value
            elif value.startswith(STAGE):
                self.aliases[name] = value.removeprefix(STAGE).lower()
            else:
                self.contexts[name] = self._directory(value, temporary, secrets)

    @staticmethod
    def _directory(value: str, temporary: Callable[[], Path], secrets: Mapping[str, bytes]) -> Path:
        context = build_inputs.open_context(value, temporary, secrets)
        if context.directory is None:
            raise InvalidInput(f"the named context {value} is no archive and no folder")
        return context.directory


def _layout_image(value: str, store: ContentStore, platform: Platform) -> ResolvedImage:
    """The image of a layout, brought into the store: the one of a tag or a digest, or the only one.

    Raises
    ------
    ImageNotFound, Corrupt, DigestMismatch
        when it is not there, or the layout is damaged.
    """
    text = value.removeprefix(LAYOUT)
    match = _NAME.fullmatch(text)
    if match is None:
        raise UsageError(f"invalid named context {value}", hint=f"write it as {LAYOUT}/DIRECTORY:TAG")
    path, tag, digest = Path(match["path"]).expanduser(), match["tag"], match["digest"]
    if tag and not path.is_dir():
        path, tag = Path(f"{path}:{tag}"), None

    def wanted(entry: Descriptor) -> bool:
        name = (entry.annotations or {}).get(ANNOTATION_REF_NAME, "")
        return (not digest or entry.digest == digest) and (not tag or name == tag or name.endswith(f":{tag}"))

    found = load_layout(store, path, platform=platform, wanted=wanted)
    if len(found) != 1:
        what = f"{len(found)} images are" if found else "no image is"
        raise ImageNotFound(f"{what} in the layout {text}", hint="name one by its tag (:TAG) or digest (@sha256:…)")
    image = Image.read(store, found[0].descriptor)
    layers = tuple(Layer(layer.descriptor, layer.diff_id) for layer in image.layers)
    return ResolvedImage(value, found[0].descriptor, image.config, layers)
