"""What proxies tell, whom of them is believed, and what a wrong one is said to do."""

from __future__ import annotations

from ipaddress import ip_network

import httpx
import pytest
from fix_web import web_client

from awa_cli.access import Access, Proxy, hash_token
from awa_cli.web.origins import COOKIE

JOBS = frozenset({"jobs.example.org"})
LOCAL = frozenset({"localhost"})
TOKEN = "x" * 43
NGINX_HOST = "proxy_set_header Host $http_host;"
READER = {"Authorization": "Bearer read-token"}
ACCESS = Access(tokens={hash_token("read-token"): ("reader", "operate")})


async def press(client: httpx.AsyncClient, origin: str, **headers: str) -> httpx.Response:
    """Change something as the page at ``origin`` does."""
    own = {"Origin": origin, "X-CSRF-Token": TOKEN, "Cookie": f"{COOKIE}={TOKEN}"}
    return await client.post("/queues/q/pause", headers={**own, **headers})


@pytest.mark.parametrize(
    ("origin", "headers"),
    [
        # A browser that says that the page is ours, and one that says nothing (plain http).
        ("https://jobs.example.org", {"Sec-Fetch-Site": "same-origin"}),
        ("http://jobs.example.org", {"X-Real-IP": "203.0.113.9"}),
        ("http://jobs.example.org", {"X-Forwarded-Proto": "http"}),
        ("http://jobs.example.org", {"Via": "1.1 edge"}),
        # nginx with $host, which loses the port.
        ("http://jobs.example.org:8080", {"Host": "jobs.example.org"}),
    ],
)
async def test_a_host_that_the_proxy_keeps_is_told_as_that(database_url, origin, headers) -> None:
    async with web_client(database_url, hosts=JOBS) as client:
        answer = (await press(client, origin, **headers)).json()

    assert answer["what"] == "the proxy does not pass the Host header on"
    assert origin in answer["why"]
    assert "the Host header is '" in answer["why"]
    assert NGINX_HOST in answer["do"]


async def test_a_proxy_that_is_not_trusted_yet_is_told(database_url) -> None:
    told = {"X-Forwarded-Host": "jobs.example.org", "Sec-Fetch-Site": "same-origin"}
    async with web_client(database_url, hosts=JOBS, peer="::1") as client:
        changed = (await press(client, "https://jobs.example.org", **told)).json()
        read = (await client.get("/jobs", headers={**told, "Host": "backend"})).json()

    for answer in (changed, read):
        assert answer["what"] == "the proxy does not pass the Host header on"
        assert answer["do"].endswith("or start awa serve with --trusted-proxy ::1")


@pytest.mark.parametrize("headers", [{}, {"Via": "1.1 edge"}])
async def test_a_name_that_is_not_allowed_may_be_the_fault_of_a_proxy(api, headers) -> None:
    answer = await api.get("/api/stats", headers={"Host": "Backend:80", **headers})

    assert answer.status_code == 421
    assert answer.json()["why"] == "the Host header is 'Backend:80'"
    assert "--allowed-host backend" in answer.json()["do"]
    assert NGINX_HOST in answer.json()["do"]


@pytest.mark.parametrize(
    ("origin", "headers"),
    [
        ("https://evil.example", {"Sec-Fetch-Site": "cross-site"}),
        ("https://evil.example", {"X-Real-IP": "203.0.113.9"}),
        ("https://evil.example", {}),
        ("null", {"Sec-Fetch-Site": "same-origin"}),
        ("https://jobs.example.org.evil.example", {}),
    ],
)
async def test_another_site_is_told_as_that(database_url, origin, headers) -> None:
    async with web_client(database_url, hosts=JOBS, host="jobs.example.org") as client:
        answer = await press(client, origin, **headers)

    assert answer.status_code == 403
    assert answer.json()["what"] == "changes from pages of other sites are not allowed"
    assert "proxy" not in answer.json()["do"]


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://jobs.example.org", "jobs.example.org"),
        ("https://jobs.example.org", "jobs.example.org:443"),
        ("http://jobs.example.org", "JOBS.example.org:80"),
        ("http://jobs.example.org.", "jobs.example.org."),
        ("http://jobs.example.org:8080", "jobs.example.org:8080"),
        ("http://[::1]:3000", "[::1]:3000"),
        ("http://[::1]", "[0:0:0:0:0:0:0:1]:80"),
        ("http://127.0.0.1:3000", "[::ffff:127.0.0.1]:3000"),
        ("http://localhost:3000", "LOCALHOST:3000"),
    ],
)
async def test_one_host_in_two_forms(database_url, origin, host) -> None:
    async with web_client(database_url, hosts=frozenset({"Jobs.Example.ORG."})) as client:
        assert (await press(client, origin, Host=host)).status_code == 204


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://jobs.example.org", "jobs.example.org:80"),
        ("http://jobs.example.org", "jobs.example.org:443"),
        ("http://127.0.0.1:8000", "127.0.0.1:3000"),
        ("http://localhost:3000", "127.0.0.1:3000"),
    ],
)
async def test_two_hosts(database_url, origin, host) -> None:
    async with web_client(database_url, hosts=JOBS) as client:
        assert (await press(client, origin, Host=host)).status_code == 403


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"])
@pytest.mark.parametrize("trusted", ["127.0.0.1", "::1", "localhost"])
async def test_what_a_trusted_proxy_tells_counts(database_url, peer, trusted) -> None:
    told = {"X-Forwarded-Host": "jobs.example.org", "X-Forwarded-Proto": "https"}
    known = {"hosts": JOBS, "trusted_proxies": frozenset({trusted})}
    async with web_client(database_url, peer=peer, **known) as client:
        page = await client.get("/jobs", headers={"Accept": "text/html", **told})
        changed = await press(client, "https://jobs.example.org", **told)
        other = await press(client, "http://jobs.example.org", **told)

    assert "secure" in page.headers["set-cookie"].lower()
    assert changed.status_code == 204
    assert other.json()["what"] == "the proxy tells another scheme than that of the page"
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in other.json()["do"]


@pytest.mark.parametrize("trusted", [frozenset(), frozenset({"10.0.0.5"})])
async def test_what_others_tell_does_not_count(database_url, trusted) -> None:
    told = {"X-Forwarded-Host": "jobs.example.org", "X-Forwarded-Proto": "https"}
    async with web_client(database_url, hosts=JOBS, trusted_proxies=trusted) as client:
        page = await client.get("/jobs", headers={"Accept": "text/html", **told})
        changed = await press(client, "https://jobs.example.org", **told)
        own = await press(client, "http://127.0.0.1:3000", **told)

    assert "secure" not in page.headers["set-cookie"].lower()
    assert (changed.status_code, own.status_code) == (403, 204)


async def test_of_several_values_the_nearest_counts(database_url) -> None:
    told = [("X-Forwarded-Host", "evil.example, jobs.example.org"), ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Proto", "https")]  # fmt: skip
    async with web_client(database_url, hosts=JOBS, trusted_proxies=LOCAL) as client:
        page = await client.get("/jobs", headers=[("Accept", "text/html"), *told])
        last = [("X-Forwarded-Host", "jobs.example.org, evil.example")]
        refused = await client.get("/api/stats", headers=last)

    assert "secure" in page.headers["set-cookie"].lower()
    assert refused.status_code == 421
    assert refused.json()["why"] == "X-Forwarded-Host is 'evil.example'"


async def test_a_rebound_name_cannot_name_another_host(database_url) -> None:
    """A page of evil.example, whose name leads here, sends whatever headers it likes, but Host."""
    told = {"X-Forwarded-Host": "127.0.0.1:3000", "X-Forwarded-For": "127.0.0.1"}
    async with web_client(database_url, trusted_proxies=LOCAL) as client:
        answer = await client.get("/api/stats", headers={"Host": "evil.example", **told})

    assert answer.status_code == 421


async def test_behind_a_login_the_host_of_the_backend_is_of_no_matter(database_url) -> None:
    told = {"Host": "awa:3000", "X-Forwarded-Host": "jobs.example.org", **READER}
    known = {"hosts": JOBS, "access": ACCESS, "trusted_proxies": frozenset({"10.0.0.0/24"})}
    async with web_client(database_url, peer="10.0.0.5", **known) as client:
        assert (await client.get("/api/stats", headers=told)).status_code == 200


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (None, 200),
        ("127.0.0.1", 200),
        ("::1, 127.0.0.1", 200),
        ("[::1]:5000", 200),
        ("203.0.113.9", 403),
        ("127.0.0.1, 203.0.113.9", 403),
        ("203.0.113.9:1234, 127.0.0.1", 403),
        ("localhost", 403),
        ("unknown", 403),
        ("_hidden, ", 403),
    ],
)
async def test_a_client_from_afar_is_not_on_this_machine(database_url, told, status) -> None:
    async with web_client(database_url, trusted_proxies=LOCAL) as client:
        headers = {"X-Forwarded-For": told} if told else {}
        answer = await client.get("/api/stats", headers=headers)

    assert answer.status_code == status


async def test_no_proxy_makes_its_client_local(database_url) -> None:
    known = {"hosts": JOBS, "trusted_proxies": frozenset({"10.0.0.5"})}
    async with web_client(database_url, peer="10.0.0.5", **known) as client:
        answer = await client.get("/api/stats", headers={"X-Forwarded-For": "127.0.0.1"})

    assert answer.status_code == 403


async def test_clients_behind_a_proxy_have_limits_of_their_own(database_url) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    known = {"access": ACCESS, "trusted_proxies": frozenset({"10.0.0.5"})}
    async with web_client(database_url, peer="10.0.0.5", **known) as client:
        for _ in range(30):
            far = await client.get(
                "/api/stats", headers={**wrong, "X-Forwarded-For": "198.51.100.1, 203.0.113.9"}
            )
        near = await client.get("/api/stats", headers={**wrong, "X-Forwarded-For": "203.0.113.10"})

    assert (far.status_code, near.status_code) == (429, 401)


@pytest.mark.parametrize("peer", ["10.0.0.5", "::ffff:10.0.0.5"])
async def test_the_proxy_of_the_access_file_is_trusted(database_url, peer) -> None:
    proxy = Proxy("x-forwarded-user", (ip_network("10.0.0.5/32"),), "operate")
    told = {
        "X-Forwarded-User": "carol",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Prefix": "/awa",
        "Accept": "text/html",
    }
    async with web_client(database_url, peer=peer, access=Access(proxy=proxy)) as client:
        page = await client.get("/jobs", headers=told)

    assert "carol" in page.text
    assert 'href="/awa/jobs"' in page.text
