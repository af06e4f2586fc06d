"""Real programs: two nginx, PostgreSQL and Redis talk by name, keep their data, and are restarted when they break."""

from __future__ import annotations

import secrets
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from bench.peers import NotHere
from jupyter_containers.engine import Container, RunResult
from tests.support import leaks, services

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_containers.engine import Engine

DOCKERFILE = """
FROM services AS web
RUN rm /etc/nginx/sites-enabled/default
COPY site.conf /etc/nginx/conf.d/
HEALTHCHECK --interval=500ms --timeout=3s --retries=2 CMD bash -c 'exec 3<>/dev/tcp/127.0.0.1/80 && \\
    printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3 && grep -q "200 OK" <&3'
CMD ["sh", "-c", "hostname >/var/www/html/index.html; exec nginx -g 'daemon off;'"]

FROM services AS database
ENV PGDATA=/data/main PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin
RUN mkdir /data && chown postgres:postgres /data
VOLUME /data
USER postgres
CMD ["sh", "-ec", "test -s $PGDATA/PG_VERSION || { initdb --no-sync --auth=trust; \\
    echo 'host all all all trust' >>$PGDATA/pg_hba.conf; }; exec postgres \\
    -c listen_addresses=* -c unix_socket_directories=/tmp"]

FROM services AS cache
VOLUME /data
WORKDIR /data
CMD ["redis-server", "--appendonly", "yes", "--appendfsync", "always", "--protected-mode", "no"]
"""
SITE = """
server {
    listen 80;
    root /var/www/html;
    location /other/ { resolver 127.0.0.11; set $other back; proxy_pass http://$other/; }
}
"""


@pytest.fixture
def box(store_root: Path) -> Iterator[Engine]:
    """An engine with the images ``web``, ``database`` and ``cache``."""
    try:
        with services.engine(store_root) as engine:
            before = leaks.take(engine.containers._parts.paths.root)
            try:
                yield engine
            finally:
                for row in engine.containers.list(all=True):
                    engine.containers.remove(row.id, force=True, volumes=True)
                for volume in engine.volumes.list():
                    engine.volumes.remove(volume.name)
                engine.networks.prune()
                root = engine.containers._parts.paths.root
    except NotHere as reason:
        pytest.skip(str(reason))
    assert leaks.remaining(root, before) == []


def sh(engine: Engine, name: str, *command: str) -> str:
    done = engine.containers.exec(name, list(command))
    assert isinstance(done, RunResult)
    return f"{done.stdout}{done.stderr}".strip()


def get(engine: Engine, path: str) -> str:
    """What the published port of ``front`` answers."""
    port = engine.containers.inspect("front")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode().strip())
    except OSError as error:
        return f"{error}"


def healthy(engine: Engine) -> bool:
    return bool(engine.containers.inspect("front")["State"].get("Health", {}).get("Status") == "healthy")


def test_real_services(box: Engine, tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(SITE, encoding="utf-8")
    for name in ("web", "database", "cache"):
        box.images.build(str(tmp_path), dockerfile=DOCKERFILE, target=name, tag=[name])
    network = f"shop-{secrets.token_hex(3)}"
    box.networks.create(network)

    def serve(image: str, name: str, **options: Any) -> str:
        made = box.containers.run(image, name=name, detach=True, network=network, stop_timeout=5, **options)
        assert isinstance(made, Container)
        return made.id

    def ready(name: str, command: list[str], wanted: str) -> None:
        leaks.wait_until(lambda: wanted in sh(box, name, *command), what=f"{name}: {wanted}", seconds=60)

    def store() -> None:
        serve("database", "db", volume="pgdata:/data")
        serve("cache", "redis", volume="redis:/data")
        ready("front", ["redis-cli", "-h", "redis", "ping"], "PONG")
        ready("front", ["/usr/lib/postgresql/15/bin/pg_isready", "-h", "db"], "accepting connections")

    back = serve("web", "back")
    serve("web", "front", publish="80", health_on_failure="restart", restart="always")
    store()
    psql = ["/usr/lib/postgresql/15/bin/psql", "-h", "db", "-U", "postgres", "-Atc"]
    assert "INSERT 0 1" in sh(box, "front", *psql, "create table kept (what text); insert into kept values ('this')")
    assert sh(box, "front", "redis-cli", "-h", "redis", "set", "kept", "that") == "OK"
    for name in ("db", "redis"):
        box.containers.stop(name)
        box.containers.remove(name)
    store()
    assert sh(box, "front", *psql, "select what from kept") == "this"
    assert sh(box, "front", "redis-cli", "-h", "redis", "get", "kept") == "that"

    leaks.wait_until(lambda: healthy(box), what="health", seconds=30)
    assert get(box, "/other/") == back[:12]
    assert get(box, "/") == sh(box, "front", "hostname")
    sh(box, "front", "rm", "/var/www/html/index.html")
    leaks.wait_until(lambda: box.containers.inspect("front")["RestartCount"] >= 1, what="the restart", seconds=60)
    leaks.wait_until(lambda: healthy(box), what="health after the restart", seconds=60)
    leaks.wait_until(lambda: get(box, "/other/") == back[:12], what="the other one's answer", seconds=30)
