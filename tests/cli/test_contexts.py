"""Contexts: which database is meant, what the file holds, and what protection asks."""

from __future__ import annotations

import stat
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from awa_cli.database.config import Context, change_config, read_config

SECRET = "hunter2-so-secret"
COMMENTED = """\
# mine
current = "a"  # the usual

# the first
[contexts.a]
url = "embedded:"  # no server

# the second, not to be touched
[contexts.b]
url = "postgresql://h/b"
color = "red"

[contexts."c.d"]
url = "postgresql://h/c"
"""


@pytest.fixture
def context(cli, config, database_url, monkeypatch):
    """Add the test's database as context ``here`` and let nothing else name it."""
    monkeypatch.delenv("DATABASE_URL")
    assert cli("context", "add", "here", database_url).status == 0
    return config


def test_where_the_database_comes_from(cli, context, database_url, monkeypatch) -> None:
    nowhere = "postgresql://127.0.0.1:1/x"
    works = "No queues found.\n"
    assert cli("queue", "stats").status == 2  # none is current
    assert cli("queue", "stats", "--context", "here").out == works
    assert cli("--context", "here", "queue", "stats").out == works
    cli("context", "use", "here")
    assert cli("queue", "stats").out == works
    monkeypatch.setenv("DATABASE_URL", nowhere)
    assert cli("queue", "stats").status == 3  # the environment before the config
    assert cli("queue", "stats", "--context", "here").out == works  # a flag before both
    cli("context", "add", "lost", nowhere)
    line = ["queue", "stats", "--context", "lost", "--database-url", database_url]
    assert cli(*line).out == works


def test_a_context_that_is_not_there(cli, context) -> None:
    for line in (["queue", "stats", "--context", "her"], ["context", "use", "her"],
                 ["context", "show", "her"], ["context", "remove", "her"]):  # fmt: skip
        ran = cli(*line)
        assert (ran.status, ran.out) == (2, "")
        assert "no context is named 'her'" in ran.err
        assert "did you mean: --context here" in ran.err


def test_adding_listing_showing_removing(cli, config) -> None:
    assert cli("context", "list").out == f"No contexts in {config}.\n"
    ran = cli("context", "add", "prod", "postgresql://app@db.prod/app", "--protected",
              "--color", "red", "--password", "env:PROD", "--use")  # fmt: skip
    assert (ran.status, ran.out) == (0, f"Saved context 'prod' in {config}\n")
    assert stat.S_IMODE(config.stat().st_mode) == 0o600

    header, row = cli("context", "list").out.splitlines()
    assert header.split() == ["NAME", "CURRENT", "DATABASE", "PROTECTED"]
    assert row.split() == ["prod", "yes", "app@db.prod:5432/app", "yes"]
    assert cli("context", "list", "-o", "json").data == [cli("context", "show", "-o", "json").data]
    assert cli("context", "show", "prod", "-o", "json").data == {
        "name": "prod", "current": True, "database": "app@db.prod:5432/app",
        "password": "env:PROD", "color": "red", "protected": True,
    }  # fmt: skip
    assert "password   env:PROD\n" in cli("context", "show").out

    assert cli("context", "remove", "prod").status == 0
    assert tomllib.loads(config.read_text()) == {}
    assert cli("context", "show").status == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["a", f"postgresql://u:{SECRET}@h/x"], "the URL contains a password"),
        (["a", f"mysql://u:{SECRET}@h/x"], "cannot be read"),
        (["a", "embedded:", "--password", SECRET], "--password takes env:NAME or cmd:COMMAND"),
        (["a", "embedded:", "--color", "rde"], "did you mean: --color red"),
        (["a b", "embedded:"], "cannot be the name of a context"),
        (["", "embedded:"], "cannot be the name of a context"),
    ],
)
def test_refused_and_nothing_written(offline, config, line, says) -> None:
    ran = offline("context", "add", *line)

    assert ran.status == 2
    assert says in ran.err
    assert SECRET not in ran.err
    assert not config.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("current = ", "it is not TOML"),
        ("current = " + "[" * 5_000, "it is not TOML: it is nested too deep"),
        ("current = " + "9" * 5_000, "it is not TOML: a number is too long"),
        ("contexts = 3", "current must be a name, contexts a table"),
        ("[contexts.a]\ncolor = 'red'", "contexts.a has no url"),
        (f"[contexts.a]\nurl = 'embedded:'\npasword = '{SECRET}'", "did you mean: password"),
        (
            f"[contexts.a]\nurl = 'embedded:'\nprotected = '{SECRET}'",
            "contexts.a.protected has the wrong type",
        ),
        (f"[contexts.a]\nurl = 'embedded:'\npassword = '{SECRET}'", "is not a reference"),
    ],
)
def test_a_bad_file_is_named_and_kept(offline, config, text, says) -> None:
    config.parent.mkdir()
    config.write_text(text)

    ran = offline("queue", "stats", "--context", "a")

    assert ran.status == 2
    assert says in ran.err
    assert SECRET not in ran.err
    if "reference" not in says:
        assert str(config) in ran.err
        assert offline("context", "add", "b", "embedded:").status == 2
    assert config.read_text() == text


def test_references(cli, context, database_url, monkeypatch) -> None:
    parts = conninfo_to_dict(database_url)
    monkeypatch.setenv("HERE_URL", database_url)
    cli("context", "add", "by-env", "env:HERE_URL")
    cli("context", "add", "by-command", f"cmd:printf %s '{database_url}'")
    service = context.with_name("services")
    service.write_text("[mine]\n" + "".join(f"{key}={value}\n" for key, value in parts.items()))
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    cli("context", "add", "by-service", "service:mine")
    for name in ("by-env", "by-command", "by-service"):
        assert cli("context", "test", name).out.startswith(f"Context '{name}' works: ")
        assert cli("queue", "stats", "--context", name).out == "No queues found.\n"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("env:NO_SUCH", "NO_SUCH is not set"),
        ("cmd:false", "'false' exited with 1"),
        ("cmd:true", "'true' printed nothing"),
        ("cmd:no-such-command", "cannot be run"),
        ("cmd:'", "cannot be run"),
        ("cmd:", "cannot be run"),
    ],
)
def test_references_that_lead_nowhere(cli, context, reference, says) -> None:
    cli("context", "add", "x", reference)
    ran = cli("queue", "stats", "--context", "x")
    assert ran.status == 2
    assert says in ran.err
    cli("context", "add", "x", "postgresql://127.0.0.1:1/x", "--password", reference)
    assert says in cli("queue", "stats", "--context", "x").err


def test_a_password_by_reference_is_used_and_never_shown(
    cli, context, database_url, monkeypatch, db
) -> None:
    role = "context_user"
    db.execute(f"DROP ROLE IF EXISTS {role}")
    db.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
    url = make_conninfo(database_url, user=role)
    monkeypatch.setenv("THE_PASSWORD", SECRET)
    try:
        cli("context", "add", "x", url, "--password", "env:THE_PASSWORD")
        for line in (["queue", "pause", "q", "--context", "x", "-vv"], ["context", "test", "x"],
                     ["context", "list", "-o", "json"], ["context", "show", "x"]):  # fmt: skip
            ran = cli(*line)
            assert SECRET not in ran.out + ran.err
        assert SECRET not in context.read_text()
    finally:
        db.execute(f"DROP ROLE {role}")


def test_protection(cli, context, terminal, monkeypatch, db, database_url) -> None:
    cli("context", "add", "prod", database_url, "--protected", "--color", "red")
    pause = ["queue", "pause", "q", "--context", "prod"]

    def paused() -> bool:
        return bool(db.execute("SELECT FROM awa.queue_meta WHERE paused").fetchall())

    refused = cli(*pause)
    assert refused.status == 2
    assert refused.err.startswith("database: prod (")
    assert "confirmation is required: the context 'prod' is protected" in refused.err
    assert "add --yes" in refused.err
    assert cli("queue", "stats", "--context", "prod").status == 0
    wrong = terminal(*pause, keys="here\n")
    assert (wrong.status, paused()) == (1, False)
    assert "prod is protected; type its name to go on:" in wrong.out
    assert "\x1b[31mprod\x1b[0m (" in wrong.out
    assert (terminal(*pause, keys="prod\n").status, paused()) == (0, True)
    assert cli("queue", "resume", "q", "--context", "prod", "--yes").status == 0
    assert not paused()


def test_test_says_when_the_schema_is_old(cli, context, empty_database_url) -> None:
    cli("context", "add", "empty", empty_database_url)
    ran = cli("context", "test", "empty")
    assert ran.status == 4
    assert "awa migrate --check" in ran.err
    cli("context", "add", "lost", "postgresql://127.0.0.1:1/x")
    assert cli("context", "test", "lost").status == 3


def test_connect_timeout_is_ours_before_the_urls(offline, process) -> None:
    import socket
    import time

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=9"
        started = time.monotonic()
        assert process("job", "list", "--connect-timeout", "2", url=url).status == 3
        assert time.monotonic() - started < 5
    assert offline("job", "list", "--connect-timeout", "0").status == 2


def write(config, text: str) -> None:
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)


def test_changes_keep_comments_and_the_rest(offline, config) -> None:
    write(config, COMMENTED)
    offline("context", "use", "b")
    offline("context", "add", "new", "embedded:/x")
    offline("context", "remove", "c.d")
    text = config.read_text()
    assert text.startswith('# mine\ncurrent = "b"\n\n# the first\n[contexts.a]\n')
    assert "# no server\n\n# the second, not to be touched\n[contexts.b]\n" in text
    assert "c.d" not in text
    offline("context", "remove", "a")
    assert "# the second, not to be touched\n[contexts.b]\n" in config.read_text()
    assert set(read_config().contexts) == {"b", "new"}
    offline("context", "remove", "b")
    assert read_config().current is None


def test_a_file_that_cannot_be_edited_is_written_anew(offline, config) -> None:
    write(config, 'contexts = { a = { url = "embedded:" } }  # inline\n')
    assert offline("context", "add", "b", "embedded:").status == 0
    assert set(read_config().contexts) == {"a", "b"}


def test_a_link_stays_a_link(offline, config, tmp_path) -> None:
    real = tmp_path / "dotfiles.toml"
    config.parent.mkdir()
    config.symlink_to(real)
    assert offline("context", "add", "a", "embedded:").status == 0
    assert config.is_symlink()
    assert "contexts.a" in real.read_text()


def test_a_folder_that_cannot_be_written(offline, config) -> None:
    config.parent.write_text("a file")
    ran = offline("context", "add", "a", "embedded:")
    assert ran.status == 2
    assert "config file" in ran.err


names = st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True)
texts = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=20
)


@given(st.lists(st.tuples(names, texts, st.booleans()), min_size=1, max_size=8))
def test_any_sequence_of_changes_is_what_the_file_says(
    tmp_path_factory, steps: list[tuple[str, str, bool]]
) -> None:
    path = tmp_path_factory.mktemp("config") / "c.toml"
    write(path, "# head\n")
    expected: dict[str, Context] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWA_CONFIG", str(path))
        for name, url, keep in steps:
            if keep or name not in expected:
                expected[name] = Context(name, url, protected=keep)
                change_config(put=expected[name], use=name if keep else None)
            else:
                del expected[name]
                change_config(remove=name)
            assert read_config().contexts == expected
    assert path.read_text().startswith(("# head", "current"))
