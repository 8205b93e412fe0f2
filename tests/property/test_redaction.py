"""No planted secret comes through, what is redacted stays as it is, and text without a secret's name is left alone."""

from __future__ import annotations

import re

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from snapstore.system import secretforms
from snapstore.system.redaction import redact_text

NAMES = st.sampled_from(
    [
        "password",
        "DB_PASSWORD",
        "db.passwd",
        "Secret",
        "client_secret",
        "api-key",
        "apiKey",
        "access_token",
        "passphrase",
        "mysql_password2",
        "psk",
        "smtp_pass",
        "secret_key_base",
        "PrivateKey",
        "credentials",
    ]
)
# At its ends a secret has a letter that stands for nothing else, and nothing in it is a harmless word.
BARE = st.from_regex(r"\A[A-Za-z0-9+/!%^&*_.~-]{4,20}\Z").map(lambda text: f"Q{text}Q")
SPACED = st.lists(BARE, min_size=1, max_size=3).map(" ".join)
ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20).map(
    lambda text: "Q9" + re.sub(r"\s", "_", text) + "9Q"
)
LINES = st.sampled_from(
    ["", "# a comment", "port = 8080", "listen [::]:80", "it's", 'say "x"', "\tuser: me", "<a>", "é = ü"]
)
FRAMES = st.sampled_from(
    [
        "{name} = {secret}",
        "{name}={secret}",
        "  {name}: {secret}",
        '"{name}": "{secret}"',
        "'{name}' => '{secret}',",
        "${name} = '{secret}';",
        "define('{name}', '{secret}');",
        "export {name}={secret}",
        "--{name}={secret} more",
        "--{name} '{secret}' more",
        "<{name}>{secret}</{name}>",
        '<x {name}="{secret}"/>',
        '<property name="{name}" value="{secret}"/>',
        "{name}: |\n    {secret}\n    x {secret}",
        "{name} = ab\\\n{secret}",
        '{name} = "first\n{secret}\nlast"',
        "create user x identified by '{secret}'",
        "alter role x password '{secret}'",
        "Authorization: Basic {secret}",
        "-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----",
        "x\n-----BEGIN EC PRIVATE KEY-----\n{secret}",
    ]
)


def planted(frame: str, name: str, secret: str) -> str:
    return frame.format(name=name, secret=secret)


@settings(max_examples=300, deadline=None)
@given(FRAMES, NAMES, st.one_of(BARE, SPACED), LINES, LINES)
def test_a_planted_secret_never_comes_through(frame: str, name: str, secret: str, before: str, after: str) -> None:
    text = f"{before}\n{planted(frame, name, secret)}\n{after}\n".encode()
    shown = redact_text(b"/etc/x.conf", text)
    for word in secret.split():
        assert word.encode() not in shown
    assert redact_text(b"/etc/x.conf", shown) == shown
    assert shown.decode()


@settings(max_examples=200, deadline=None)
@given(NAMES, st.sampled_from(["{name} = {secret}", "{name}: {secret}", "{name}={secret}"]), ANY)
def test_whatever_an_unquoted_value_is(name: str, frame: str, secret: str) -> None:
    """It is hidden to the end of its line, whatever signs it is made of."""
    shown = redact_text(b"/etc/x.conf", planted(frame, name, secret).encode()).decode()
    assert secret not in shown
    assert "Q9" not in shown


@settings(max_examples=200, deadline=None)
@given(
    st.from_regex(r"\A[^\s/@\"'<>`?#]{1,12}\Z"),
    st.from_regex(r"\A[^\s\"'<>`]{4,20}\Z"),
    st.sampled_from(["", "/x", ":8/"]),
)
def test_credentials_in_addresses(user: str, password: str, rest: str) -> None:
    assume(not re.match(r"[0-9]{1,5}(?:[/?#]|\Z)", password))
    assume("\0" not in user + password)
    shown = redact_text(
        b"/etc/x", f"see https://{user.replace(':', '')}:Q{password}Q@host{rest} there".encode()
    ).decode()
    assert f"Q{password}Q" not in shown
    assert shown.endswith(f"@host{rest} there")


WORDS = st.sampled_from(
    ["listen", "8080", "=", ":", '"', "'", "{", "}", "#", "\\", "|", "/srv/x", "é", "\t", "\r", "<a>", "a@b", "$1"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=6).map("\n".join))
def test_text_without_a_name_is_left_alone(text: str) -> None:
    assert not secretforms.TRIGGER.search(text.encode())
    assert redact_text(b"/etc/x.conf", text.encode()).decode() == text


PIECES = st.sampled_from(
    [
        b"password",
        b"token",
        b" ",
        b"=",
        b":",
        b'"',
        b"'",
        b"\\",
        b"\n",
        b"|",
        b">",
        b"(",
        b")",
        b",",
        b";",
        b"x",
        b"://",
        b"@",
        b"<password>",
        b"</password>",
        b"-----BEGIN PRIVATE KEY-----",
        b"identified by ",
        b"authorization",
        b"\xff",
        b"\r",
        b"$6$",
        b"-u ",
        b"--",
        b"login a password ",
        b"\t",
        b"(hidden)",
        b"{",
        b"yes",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=14).map(b"".join), st.binary(max_size=20))
def test_it_is_total_and_stays_as_it_is(text: bytes, path: bytes) -> None:
    shown = redact_text(path, text)
    assert redact_text(path, shown) == shown
    assert len(shown.split(b"\n")) <= len(text.split(b"\n")) + 1


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    assert isinstance(redact_text(b"/etc/x", data), bytes)
