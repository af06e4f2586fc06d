from __future__ import annotations

from jupyter_containers.network.files import changed_hosts, hostname_file, hosts_file, needs_upstream, resolv_conf


def test_hosts_names_the_container_and_what_was_added() -> None:
    text = hosts_file(
        "web.example", ["10.88.0.2"], [("db", "10.88.0.3"), ("six", "[fd00::1]")], aliases=["web", "www"]
    ).decode()
    assert "127.0.0.1\tlocalhost\n" in text
    assert text.endswith("10.88.0.3\tdb\nfd00::1\tsix\n10.88.0.2\tweb.example web www\n")


def test_without_a_network_the_name_is_the_containers_own() -> None:
    assert hosts_file("abc", []).decode().endswith("127.0.0.1\tabc\n")
    assert hosts_file("", []).decode().count("\n") == 6


def test_the_host_has_a_name_for_who_asks() -> None:
    extra = [("host.docker.internal", "host-gateway")]
    assert "10.88.0.1\thost.docker.internal\n" in hosts_file("a", [], extra, gateway="10.88.0.1").decode()
    assert "host.docker.internal" not in hosts_file("a", [], extra).decode()


def test_addresses_that_change_leave_the_rest_of_hosts() -> None:
    before = b"10.0.0.2\tweb\n# mine\n10.0.0.22\tdb"
    after = changed_hosts(before, "web.lan", gone=["10.0.0.2"], new=["10.0.1.2", "fd00::2"])
    assert after == b"# mine\n10.0.0.22\tdb\n10.0.1.2\tweb.lan web\nfd00::2\tweb.lan web\n"


def test_hostname() -> None:
    assert hostname_file("abc") == b"abc\n"


HOST = b"""\
# made by somebody
; nameserver 9.9.9.9
nameserver 127.0.0.53
nameserver 192.0.2.53   # ours
nameserver ::1
nameserver nonsense
nameserver fe80::1%eth0
domain old.example
search a.example b.example
options edns0 trust-ad
"""


def test_loopback_servers_of_the_host_are_left_out() -> None:
    assert resolv_conf(HOST) == (
        b"nameserver 192.0.2.53\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions edns0 trust-ad\n"
    )
    assert b"nameserver 127.0.0.53\n" in resolv_conf(HOST, host_loopback=True)


def test_without_a_usable_server_there_is_a_fallback() -> None:
    assert resolv_conf(b"nameserver 127.0.0.53\n") == b"nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert resolv_conf(b"", fallback=["10.0.2.3"]) == b"nameserver 10.0.2.3\n"
    assert resolv_conf(b"\xff\xfe\n") == b"nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_options_of_the_user_replace_those_of_the_host() -> None:
    given = resolv_conf(HOST, servers=["1.1.1.1"], search=["c.example"], options=["ndots:2"])
    assert given == b"nameserver 1.1.1.1\nsearch c.example\noptions ndots:2\n"
    assert b"search" not in resolv_conf(HOST, search=["."])
    assert resolv_conf(b"domain only.example\n").endswith(b"search only.example\n")


def test_a_stub_resolver_is_recognized() -> None:
    assert needs_upstream(b"nameserver 127.0.0.53\n")
    assert not needs_upstream(HOST)
    assert not needs_upstream(b"")
