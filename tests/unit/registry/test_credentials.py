from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import InvalidInput
from jupyter_containers.registry.credentials import Credential, DockerConfig

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a:b pass"
ENCODED = base64.b64encode(f"alice:{SECRET}".encode()).decode()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


def test_no_file_is_no_credentials(config: Path) -> None:
    assert not config.exists()
    assert DockerConfig().lookup("registry.example") is None


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("registry.example", "registry.example"),
        ("https://registry.example", "registry.example"),
        ("https://registry.example/v2/", "registry.example"),
        ("localhost:5000", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_what_docker_login_stored(config: Path, key: str, registry: str) -> None:
    write(config, {"auths": {key: {"auth": ENCODED}}})

    assert DockerConfig().lookup(registry) == Credential("alice", SECRET)
    assert DockerConfig().lookup("registry.example.evil.example") is None
    assert DockerConfig().lookup("example") is None


def test_name_and_password_and_tokens(config: Path) -> None:
    write(
        config,
        {
            "auths": {
                "a.example": {"username": "bob", "password": "pw"},
                "b.example": {"auth": ENCODED, "identitytoken": "id"},
                "c.example": {"registrytoken": "rt"},
                "d.example": {},
            }
        },
    )
    lookup = DockerConfig().lookup

    assert lookup("a.example") == Credential("bob", "pw")
    assert lookup("b.example") == Credential("alice", SECRET, identity_token="id")
    assert lookup("c.example") == Credential(registry_token="rt")
    assert lookup("d.example") is None


@pytest.mark.parametrize(
    "text", ['{"auths": {"a.example": {"auth": "%%%"}}}', '{"auths": {"a.example": "secret"', "\x00"]
)
def test_a_damaged_file_is_said_without_its_content(config: Path, text: str) -> None:
    config.write_text(text, encoding="utf-8")

    with pytest.raises(InvalidInput) as invalid:
        DockerConfig().lookup("a.example")
    assert "secret" not in "".join(invalid.value.lines())


@pytest.mark.parametrize("document", [[], {"auths": []}, {"auths": {"a.example": "x"}}, {"credHelpers": 5}])
def test_other_shapes_hold_no_credentials(config: Path, document: object) -> None:
    write(config, document)

    assert DockerConfig().lookup("a.example") is None


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper that knows two servers, and writes down what it was asked."""
    program = tmp_path / "docker-credential-test"
    program.write_text(
        f"""#!/bin/sh
server=$(cat)
echo "$1 $server" >> {tmp_path}/asked
case "$server" in
a.example) echo '{{"ServerURL": "a.example", "Username": "carol", "Secret": "pw"}}' ;;
b.example) echo '{{"Username": "<token>", "Secret": "id"}}' ;;
c.example) echo 'not JSON' ;;
d.example) echo 'secret text' >&2; exit 3 ;;
*) echo 'credentials not found in native keychain'; exit 1 ;;
esac
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "asked"


def test_a_credential_helper_is_asked(config: Path, helper: Path) -> None:
    write(config, {"credsStore": "test", "auths": {"a.example": {}, "f.example": {"auth": ENCODED}}})
    lookup = DockerConfig().lookup

    assert lookup("a.example") == Credential("carol", "pw")
    assert lookup("b.example") == Credential(identity_token="id")
    assert lookup("e.example") is None
    assert lookup("docker.io") is None
    assert lookup("f.example") == Credential("alice", SECRET)
    assert helper.read_text(encoding="utf-8").splitlines() == [
        "get a.example",
        "get b.example",
        "get e.example",
        "get https://index.docker.io/v1/",
    ]


def test_a_helper_for_one_registry_is_asked_for_it_only(config: Path, helper: Path) -> None:
    write(config, {"credHelpers": {"a.example": "test"}})

    assert DockerConfig().lookup("a.example") == Credential("carol", "pw")
    assert DockerConfig().lookup("b.example") is None
    assert helper.read_text(encoding="utf-8") == "get a.example\n"


@pytest.mark.parametrize("server", ["c.example", "d.example"])
def test_a_helper_that_fails_is_named_and_not_quoted(config: Path, helper: Path, server: str) -> None:
    write(config, {"credsStore": "test"})

    with pytest.raises(InvalidInput, match="docker-credential-test") as invalid:
        DockerConfig().lookup(server)
    assert "secret" not in "".join(invalid.value.lines())
    assert helper.exists()


@pytest.mark.parametrize("name", ["missing-for-sure", "../../bin/sh", "a b"])
def test_a_helper_that_is_not_installed(config: Path, name: str) -> None:
    write(config, {"credsStore": name})

    with pytest.raises(InvalidInput, match="not installed"):
        DockerConfig().lookup("a.example")
