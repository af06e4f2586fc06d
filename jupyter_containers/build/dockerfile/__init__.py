"""The front end of the builder: Dockerfile text to typed instructions. Pure: it opens no file and starts nothing."""

from __future__ import annotations

from jupyter_containers.build.dockerfile import instructions
from jupyter_containers.build.dockerfile.convert import to_instruction
from jupyter_containers.build.dockerfile.expand import Expander
from jupyter_containers.build.dockerfile.ignore import IgnoreMatcher
from jupyter_containers.build.dockerfile.instructions import Instruction
from jupyter_containers.build.dockerfile.nodes import Directive, Heredoc, Node, SyntaxTree
from jupyter_containers.build.dockerfile.parser import parse_tree, read_instruction
from jupyter_containers.build.dockerfile.printer import print_node, print_nodes, print_tree
from jupyter_containers.build.dockerfile.stages import Stage, StagePlan, plan_stages
from jupyter_containers.build.dockerfile.substitute import expand_instruction
from jupyter_containers.build.dockerfile.support import require_supported, unsupported
from jupyter_containers.errors import DockerfileError
from jupyter_containers.records import dataclass, field

__all__ = [
    "Directive",
    "Dockerfile",
    "Expander",
    "Heredoc",
    "IgnoreMatcher",
    "Instruction",
    "Node",
    "Stage",
    "StagePlan",
    "SyntaxTree",
    "expand_instruction",
    "instructions",
    "parse",
    "parse_tree",
    "parse_trigger",
    "plan_stages",
    "print_node",
    "print_nodes",
    "print_tree",
    "read_instruction",
    "require_supported",
    "to_instruction",
    "unsupported",
]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile understood.

    Equality is that of the meaning: names of files, places and comments do not count.
    """

    name: str = field(compare=False)
    directives: tuple[Directive, ...]
    instructions: tuple[Instruction, ...]
    escape: str

    def directive(self, name: str) -> str | None:
        """The value of a parser directive."""
        return next((directive.value for directive in self.directives if directive.name == name), None)


def parse(text: str, *, name: str = "Dockerfile") -> Dockerfile:
    """Read a Dockerfile.

    Parameters
    ----------
    text
        The whole file.
    name
        What it is called in messages.

    Raises
    ------
    DockerfileError
        with the line that is wrong. No other error, whatever the text.
    """
    tree = parse_tree(text, name=name)
    return Dockerfile(name, tree.directives, tuple(to_instruction(node) for node in tree.nodes), tree.escape)


def parse_trigger(text: str, *, name: str = "ONBUILD trigger") -> Instruction:
    """Read an ONBUILD trigger as an image's configuration keeps it.

    Raises
    ------
    DockerfileError
        when it is malformed or not exactly one instruction.
    """
    dockerfile = parse(text, name=name)
    first, *more = dockerfile.instructions
    if more:
        raise DockerfileError("an ONBUILD trigger is one instruction", source=more[0].source, text=more[0].text)
    return first
