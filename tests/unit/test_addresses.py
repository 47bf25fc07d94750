"""Names and addresses of hosts, in each form that people and programs write."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.addresses import (
    Host,
    canonical,
    is_loopback,
    parse_host,
    parse_ip,
    parse_networks,
    parse_origin,
)
from awa_lib.errors import InvalidInput


@pytest.mark.parametrize(
    "name",
    [
        "localhost", "LocalHost", "localhost.", "127.0.0.1", "127.8.8.8", "127.0.0.1.", "::1",
        "[::1]", "0:0:0:0:0:0:0:1", "::1%lo", "::ffff:127.0.0.1", "[::ffff:127.0.0.1]",
        "::FFFF:7f00:1",
    ],
)  # fmt: skip
def test_names_of_this_machine(name) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "localhost..", "localhost.example", "xlocalhost", "127.0.0.1.example", "0.0.0.0",
        "::", "10.0.0.1", "::ffff:10.0.0.1", "[::1", "127.0.0", "2130706433", "0x7f.0.0.1", "::1:80",
    ],
)  # fmt: skip
def test_names_of_others(name) -> None:
    assert not is_loopback(name)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("jobs.example.org", Host("jobs.example.org")),
        ("JOBS.Example.ORG.:8080", Host("jobs.example.org", 8080)),
        ("[::1]:3000", Host("::1", 3000)),
        ("[0:0::1]", Host("::1")),
        ("[::ffff:10.0.0.5]:80", Host("10.0.0.5", 80)),
        ("awa_backend", Host("awa_backend")),
    ],
)
def test_a_host_header(text, host) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a:x", "a:", "a:0", "a:65536", "a:80:80", "::1", "[::1", "[x]", "[:::]", "a@b", "a/b",
     "a\r\nb", "ä"],
)  # fmt: skip
def test_what_is_no_host_header(text) -> None:
    assert parse_host(text) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://Jobs.example.org", "https://jobs.example.org:443"),
        ("http://jobs.example.org.", "http://jobs.example.org:80"),
        ("http://[::1]:3000", "http://[0::1]:3000"),
    ],
)
def test_origins_that_are_one(one, other) -> None:
    assert parse_origin(one) == parse_origin(other) is not None


@pytest.mark.parametrize(
    "text",
    ["", "null", "jobs", "ftp://a", "http://", "http://a/", "http://a?x", "http://a#", "http://u@a",
     "http://[x]", "http://[", "https://a:0"],
)  # fmt: skip
def test_what_is_no_origin(text) -> None:
    assert parse_origin(text) is None


def test_an_origin_is_written_as_browsers_do() -> None:
    written = {
        "https://app.example.org": "HTTPS://APP.example.org:443",
        "http://app.example.org:443": "http://app.example.org:443",
        "http://[::1]": "http://[0::1]:80",
    }
    for expected, text in written.items():
        scheme, host = parse_origin(text)
        assert host.origin(scheme) == expected


@pytest.mark.parametrize(
    ("text", "within", "outside"),
    [
        ("10.0.0.5", "10.0.0.5", "10.0.0.6"),
        ("10.0.0.5", "::ffff:10.0.0.5", "::10.0.0.5"),
        ("10.0.0.0/24", "10.0.0.9", "10.0.1.9"),
        ("::ffff:10.0.0.0/120", "10.0.0.9", "10.0.1.9"),
        ("[fd00::1]", "fd00::1", "fd00::2"),
        ("fd00::/64", "fd00::2", "fd00:0:0:1::2"),
        ("localhost", "::1", "10.0.0.1"),
        ("127.0.0.1", "::1", "::2"),
        ("::1", "127.0.0.1", "126.0.0.1"),
    ],
)
def test_networks_of_proxies(text, within, outside) -> None:
    networks = parse_networks([text])

    assert any(parse_ip(within) in one for one in networks)
    assert not any(parse_ip(outside) in one for one in networks)


@pytest.mark.parametrize("text", ["", "*", "nginx", "10.0.0.5/24", "10.0.0.256", "10.0.0.5:80", 5])
def test_what_is_no_network(text) -> None:
    with pytest.raises(InvalidInput) as found:
        parse_networks([text])

    assert "10.0.0.0/24" in found.value.hint if isinstance(text, str) else True


@given(st.ip_addresses())
def test_each_form_of_an_address_is_the_same(address) -> None:
    forms = {str(address), address.exploded, address.exploded.upper(), f"[{address}]"}
    if address.version == 4:
        forms |= {f"::ffff:{address}", f"[::FFFF:{address}]"}

    assert {canonical(one) for one in forms} == {canonical(str(address))}
    assert ip_address(canonical(str(address))) in {address, getattr(address, "ipv4_mapped", None)}


@given(st.text(max_size=60))
def test_any_text_is_a_host_or_none(text) -> None:
    host = parse_host(text)

    assert host is None or canonical(host.name) == host.name
    parse_origin(text)
    is_loopback(text)
