"""The server behind a real nginx, which removes the prefix from paths or passes it on."""

from __future__ import annotations

import re

import pytest
from cli.serving import serving
from fix_nginx import NAME, guide_config, nginx

PAGE = {"Accept": "text/html"}
STRIPPED = ("proxy_pass http://127.0.0.1:3000;", "proxy_pass http://127.0.0.1:3000/;")
CALLBACK = "4e0c2c1e-0f5e-4e5b-8f5a-3f1f0c3f1a11"


def config_without(*names: str) -> str:
    """Return the configuration of the guide without these headers."""
    lines = guide_config().splitlines(keepends=True)
    return "".join(line for line in lines if not any(f"header {name} " in line for name in names))


def press(client, origin: str, path: str):
    """Press a button of the list of queues, as a browser does."""
    page = client.get("/queues", headers=PAGE)
    token = re.search(r'"X-CSRF-Token": "([^"]+)"', page.text)[1]
    headers = {"Origin": origin, "X-CSRF-Token": token, "Sec-Fetch-Site": "same-origin"}
    return client.post(path, headers=headers)


@pytest.mark.parametrize("by", ["header", "option"])
@pytest.mark.parametrize("kind", ["passed on", "removed"])
def test_everything_works_below_the_prefix(database_url, add, tmp_path, kind, by) -> None:
    add(queue="a/b")
    add(queue="a/b")
    if by == "header":
        config, words = guide_config(), ["--trusted-proxy", "localhost"]
    else:
        config = config_without("X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Proto")
        words = ["--path-prefix", "/awa"]
    if kind == "removed":
        assert STRIPPED[0] in config
        config = config.replace(*STRIPPED)
    words += ["--port", "0", "--allowed-host", NAME]
    secret = {"AWA_CALLBACK_HMAC_SECRET": "07" * 32}
    with (
        serving("serve", *words, url=database_url, **secret) as served,
        nginx(tmp_path, int(re.search(r":(\d+)", served[1])[1]), config) as proxy,
        proxy.client("/awa") as client,
    ):
        first = client.get("/", headers=PAGE)
        links = re.findall(r'(?:href|src|hx-get|hx-post|sse-connect)="(/[^"]*)"', first.text)
        assert first.status_code == 200
        assert {one.split("/")[1] for one in links} == {"awa"}
        for one in [one for one in links if "/static/" in one]:
            assert client.get(one.removeprefix("/awa")).status_code == 200
        cookie = first.headers["set-cookie"].lower()
        assert "path=/awa;" in cookie
        assert ("secure" in cookie) is (by == "header")

        paused = press(client, proxy.origin, "/queues/a%2Fb/pause")
        assert paused.status_code == 204, paused.text
        assert client.get("/jobs?filter=queue:a").headers["location"] == "/awa/jobs?queue=a"
        with client.stream("GET", "/api/events?topic=queues") as stream:
            assert next(line for line in stream.iter_lines() if line == "event: queues")

        assert client.get("/api/openapi.json").json()["servers"] == [{"url": "/awa"}]
        assert client.get("/api/jobs?limit=1").headers["link"].startswith("</awa/api/jobs?")
        if kind == "passed on":
            assert client.get("/api/queues/a%2Fb").json()["paused"] is True
        assert client.get("/healthz").text == "ok\n"
        assert client.get("/readyz").json()["ready"] is True
        assert "awa_" in client.get("/metrics").text
        unsigned = client.post(f"/api/callbacks/{CALLBACK}/complete", json={})
        assert (unsigned.status_code, "X-Awa-Signature" in unsigned.text.title()) == (401, True)

        # What a client invents is replaced by nginx, or not believed.
        evil = {"X-Forwarded-Prefix": "//evil.example", "X-Forwarded-Host": "evil.example"}
        told = client.get("/jobs", headers={**PAGE, **evil})
        assert told.status_code == 200
        assert "evil.example" not in told.text


def test_a_host_that_nginx_replaces_is_told_with_the_line_to_add(database_url, tmp_path) -> None:
    config = config_without("Host", "X-Forwarded-Host")
    words = ["--allowed-host", NAME, "--trusted-proxy", "localhost"]
    with (
        serving("serve", "--port", "0", *words, url=database_url) as served,
        nginx(tmp_path, int(re.search(r":(\d+)", served[1])[1]), config) as proxy,
        proxy.client("/awa") as client,
    ):
        answer = press(client, proxy.origin, "/queues/q/pause").json()

    assert answer["what"] == "the proxy does not pass the Host header on"
    line = re.search(r"proxy_set_header Host [^;]+;", answer["do"])[0]
    assert line in guide_config()


def test_callbacks_behind_nginx(database_url, tmp_path) -> None:
    """All below /hooks is theirs, removed or not."""
    config = guide_config().replace("location /awa/", "location /hooks/")
    for own, said in (("/hooks", config), ("/", config.replace(*STRIPPED))):
        place = tmp_path / own.strip("/").join("xy")
        place.mkdir()
        words = ["--path-prefix", own, "--allow-unsigned", "--trusted-proxy", "localhost"]
        with (
            serving("callbacks", "serve", "--port", "0", *words, url=database_url) as served,
            nginx(place, int(re.search(r":(\d+)", served[1])[1]), said) as proxy,
            proxy.client("/hooks") as client,
        ):
            answer = client.post(f"/{CALLBACK}/complete", json={}, headers=PAGE)

        assert (answer.status_code, "callback" in answer.json()["what"]) == (404, True)
