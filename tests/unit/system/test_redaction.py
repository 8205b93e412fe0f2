"""Secrets in the forms that real files have, none of which may come through, and what has to stay as it is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from snapstore.system.record import Field, Row, Scope, Table, Type
from snapstore.system.redaction import LINE_LIMIT, TEXT_LIMIT, hide, redact_text
from snapstore.system.schema import SCOPES
from snapstore.system.scopes.accounts import USERS, Group, User
from snapstore.system.scopes.files import FILES, Class, FileRow

S = "hunter2-Zq9"
"""The secret: it stands in each text of the table, and in none of the answers."""

KEY = "-----BEGIN {0}PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nhunter2Zq9\n-----END {0}PRIVATE KEY-----"

# What is there, and what a person may see.
TABLE = [
    (f"password = {S}", "password = (hidden)"),
    (f"password={S}\r", "password=(hidden)\r"),
    (f"  db_password: {S}  # why", "  db_password: (hidden)"),
    (f"password = a phrase with {S} in it", "password = (hidden)"),
    (f'"password": "{S}", "user": "x"', '"password": "(hidden)", "user": "x"'),
    (f'{{"token":"{S}","api_key":"{S}"}}', '{"token":"(hidden)","api_key":"(hidden)"}'),
    (f"'secret' => '{S}',", "'secret' => '(hidden)',"),
    (f'$wgDBpassword = "{S}";', '$wgDBpassword = "(hidden)";'),
    (f"$db['default']['password'] = '{S}';", "$db['default']['password'] = '(hidden)';"),
    (f"define('DB_PASSWORD', '{S}');", "define('DB_PASSWORD', '(hidden)');"),
    (f"define( \"AUTH_KEY\", '{S}' );", "define( \"AUTH_KEY\", '(hidden)' );"),
    (f"define('SECURE_AUTH_SALT', '{S}');", "define('SECURE_AUTH_SALT', '(hidden)');"),
    (f"export API_TOKEN={S}", "export API_TOKEN=(hidden)"),
    (f"AWS_SECRET_ACCESS_KEY={S}", "AWS_SECRET_ACCESS_KEY=(hidden)"),
    (f"Environment=PGPASSWORD={S}", "Environment=PGPASSWORD=(hidden)"),
    (f"password = 'it\\'s {S}'", "password = '(hidden)'"),
    (f"password = 'ab''{S}'", "password = (hidden)"),
    (f'password = "ab" + "{S}"', "password = (hidden)"),
    (f'password = "ab"{S}', "password = (hidden)"),
    (f"password = ab\\\n  {S}\nnext = 1", "password = (hidden)\\\n  (hidden)\nnext = 1"),
    (f"password: |\n  {S}\n\n  more {S}\nuser: x", "password: |\n  (hidden)\n\n  (hidden)\nuser: x"),
    (f"  password: >-  # folded\n    {S}\n  user: x", "  password: >-  # folded\n    (hidden)\n  user: x"),
    (f'password = "ab\n{S}\ncd" ; x = 1', "password = (hidden)\n(hidden)\n(hidden) ; x = 1"),
    (f'password = """\n{S}\n"""\nx = 1', "password = (hidden)\n(hidden)\n(hidden)\nx = 1"),
    (f"<password>{S}</password>", "<password>(hidden)</password>"),
    (f'<db:dbPassword type="x">\n  {S}\n</db:dbPassword>', '<db:dbPassword type="x">(hidden)</db:dbPassword>'),
    (f"<passphrase><![CDATA[{S}]]></passphrase>", "<passphrase>(hidden)</passphrase>"),
    (f'<property name="db.password" value="{S}"/>', '<property name="db.password" value="(hidden)"/>'),
    (f"<name>fs.secret</name>\n<value>{S}</value>", "<name>fs.secret</name>\n<value>(hidden)</value>"),
    (f"<key>Password</key><string>{S}</string>", "<key>Password</key><string>(hidden)</string>"),
    (f'<Resource password="{S}" url="x"/>', '<Resource password="(hidden)" url="x"/>'),
    (f"requirepass {S}", "requirepass (hidden)"),
    (f"masterauth {S}", "masterauth (hidden)"),
    (f"bindpw {S}", "bindpw (hidden)"),
    (f"rootpw\t\t{S}", "rootpw\t\t(hidden)"),
    (f'\tsecret "{S}";', '\tsecret "(hidden)";'),
    (f"machine h login u password {S}", "machine h login u password (hidden)"),
    (f"machine h\n login u\n password {S}", "machine h\n login u\n password (hidden)"),
    (f"d-i passwd/root-password password {S}", "d-i passwd/root-password password (hidden)"),
    (f"mysql --user=x --password={S}", "mysql --user=x --password=(hidden)"),
    (f"tool --db-password {S} --port 1", "tool --db-password (hidden) --port 1"),
    (f"tool --token '{S}' --port 1", "tool --token '(hidden)' --port 1"),
    (f"curl -u admin:{S} http://h/", "curl -u (hidden) http://h/"),
    (f"curl --user 'a:{S}' http://h/", "curl --user '(hidden)' http://h/"),
    (f"sshpass -p {S} ssh h", "sshpass -p (hidden) ssh h"),
    (f"psk={S}", "psk=(hidden)"),
    (f'\tpsk="{S}"', '\tpsk="(hidden)"'),
    (f'wep_key0="{S}"', 'wep_key0="(hidden)"'),
    (f"wifi-sec.psk={S}", "wifi-sec.psk=(hidden)"),
    (f"PrivateKey = {S}", "PrivateKey = (hidden)"),
    (f"PresharedKey = {S}", "PresharedKey = (hidden)"),
    (f"CREATE USER x IDENTIFIED BY '{S}';", "CREATE USER x IDENTIFIED BY '(hidden)';"),
    (f"alter user 'a'@'b' identified with mysql_native_password by '{S}'",
     "alter user 'a'@'b' identified with mysql_native_password by '(hidden)'"),
    (f"GRANT ALL ON *.* TO x IDENTIFIED BY PASSWORD '{S}'", "GRANT ALL ON *.* TO x IDENTIFIED BY PASSWORD '(hidden)'"),
    (f"SET PASSWORD FOR 'x' = PASSWORD('{S}');", "SET PASSWORD FOR 'x' = PASSWORD('(hidden)');"),
    (f"CREATE ROLE a LOGIN PASSWORD '{S}' VALID", "CREATE ROLE a LOGIN PASSWORD '(hidden)' VALID"),
    (f"Authorization: Basic {S}", "Authorization: (hidden)"),
    (f'proxy_set_header Authorization "Basic {S}";', 'proxy_set_header Authorization "(hidden)";'),
    (f"X-Auth-Token: {S}", "X-Auth-Token: (hidden)"),
    (f"url = https://user:{S}@host/path", "url = https://(hidden)@host/path"),
    (f"https://{S}@host/path?x=1", "https://(hidden)@host/path?x=1"),
    (f"amqp://u:a/b#c?d@{S}@host:5672/v", "amqp://(hidden)@host:5672/v"),
    (f"<a href='ftp://u:{S}@h/'>", "<a href='ftp://(hidden)@h/'>"),
    (f"conn = host=x password={S} dbname=y", "conn = host=x password=(hidden)"),
    (f"Server=x;User Id=sa;Pwd={S};", "Server=x;User Id=sa;Pwd=(hidden);"),
    (f"https://h/?access_token={S}", "https://h/?access_token=(hidden)"),
    (f"x = 1\n{KEY.format('RSA ')}\ny = 2".replace("hunter2Zq9", S), "x = 1\n(hidden: a private key)\ny = 2"),
    (f"x: {KEY.format('ENCRYPTED ')}".replace("\n", "\\n").replace("hunter2Zq9", S), "x: (hidden: a private key)"),
    (f"cert\n-----BEGIN OPENSSH PRIVATE KEY-----\n{S}\n", "cert\n(hidden: a private key)"),
    (f"{'long ' * LINE_LIMIT} password={S}", "(hidden: a long line)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), TABLE, ids=lambda text: ascii(text[:40]))
def test_what_a_person_sees(text: str, shown: str) -> None:
    assert S in text
    redacted = redact_text(b"/etc/x.conf", text.encode()).decode()
    assert S not in redacted
    assert redacted == shown
    assert redact_text(b"/etc/x.conf", redacted.encode()).decode() == redacted


HASHES = [
    "$6$rounds=5000$saltsalt$abcdefghijklmnopqrstuvwxyz0123456789./ABCDEFGHIJKL",
    "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC",
    "$2y$05$abcdefghijklmnopqrstuvABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
    "$apr1$c1t2.3x4$abcdefghijklmnopqrstu1",
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG",
    "{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g4TkZt",
    "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0$c3RvcmVka2V5:c2VydmVya2V5",
    "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19",
    "md5" + "0123456789abcdef" * 2,
    "ghp_" + "a1B2" * 9,
    "xoxb-" + "123456789012-abcdefghijkl",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
]


@pytest.mark.parametrize("secret", HASHES, ids=lambda each: each[:8])
@pytest.mark.parametrize("frame", ["{}", "name {} more", "user:{}:19000:0:1:2:::", "'{}'", "x = {};"])
def test_hashes_and_tokens_show_by_themselves(secret: str, frame: str) -> None:
    shown = redact_text(b"/etc/x", b"# more\n" + frame.format(secret).encode()).decode()
    assert secret[8:] not in shown
    assert "(hidden)" in shown


def test_old_hashes_in_passwd() -> None:
    text = b"root:aB3dE6gH9jK2m:0:0:root:/root:/bin/sh\nx:x:1:1::/:/bin/sh\n"
    assert redact_text(b"/etc/passwd.old", text) == b"root:(hidden):0:0:root:/root:/bin/sh\nx:x:1:1::/:/bin/sh\n"


@pytest.mark.parametrize(
    ("path", "text", "shown"),
    [
        (b"/etc/shadow", "anything", "(hidden: password hashes)\n"),
        (b"/etc/shadow-", "anything", "(hidden: password hashes)\n"),
        (b"etc/gshadow", "anything", "(hidden: password hashes)\n"),
        (b"/srv/www/.htpasswd", "u:aB3dE6gH9jK2m", "(hidden: password hashes)\n"),
        (b"/srv/copy", "root:$6$ab$cdefghijkl:19000:0:99999:7:::\nbin:*:1:0:9:7:::\n", "(hidden: password hashes)\n"),
        (b"/etc/ssh/ssh_host_ed25519_key", "anything", "(hidden: a private key)\n"),
        (b"/root/.ssh/id_rsa", "anything", "(hidden: a private key)\n"),
        (b"/etc/ssl/private/x.pem", "anything", "(hidden: a private key)\n"),
        (b"/etc/nginx/site.key", "anything", "(hidden: a private key)\n"),
        (b"/etc/letsencrypt/live/h/privkey.pem", "anything", "(hidden: a private key)\n"),
        (b"/srv/x.pem", "\n" + KEY.format("EC ") + "\nmore\n", "(hidden: a private key)\n"),
        (b"/srv/x", "PuTTY-User-Key-File-2: ssh-rsa\nx\n", "(hidden: a private key)\n"),
        (b"/etc/ppp/chap-secrets", "a * b *", "(hidden: a file of secrets)\n"),
        (b"/etc/ipsec.secrets", ': PSK "x"', "(hidden: a file of secrets)\n"),
        (b"/root/.pgpass", "h:5432:d:u:p", "(hidden: a file of secrets)\n"),
        (b"/etc/postfix/sasl_passwd", "h u:p", "(hidden: a file of secrets)\n"),
        (b"/etc/x", "a\0b", "(hidden: not a text)\n"),
        (b"/etc/x", "a" * (TEXT_LIMIT + 1), "(hidden: too long to look for secrets in it)\n"),
    ],
    ids=lambda value: ascii(value[:30]),
)  # fmt: skip
def test_whole_files(path: bytes, text: str, shown: str) -> None:
    redacted = redact_text(path, text.encode())
    assert redacted.decode() == shown
    assert redact_text(path, redacted) == redacted
    assert redact_text(b"/etc/other", redacted) == redacted
    assert redact_text(path, b"") == b""


UNTOUCHED = """\
# The password must be long; tokens are not for sharing. A secret is a secret.
PermitRootLogin prohibit-password
PasswordAuthentication yes
PermitEmptyPasswords no
password requisite pam_pwquality.so retry=3
password [success=1 default=ignore] pam_unix.so obscure yescrypt
passwd:         files systemd
shadow:         files [!UNAVAIL=return] ldap
password_encryption = scram-sha-256
password_file = /etc/x
AuthType Basic
AuthUserFile /etc/apache2/users
# Basic authentication, or Bearer authentication
Require valid-user
proxy_pass http://backend:8080/;
fastcgi_pass unix:/run/php.sock;
ssl_certificate_key /etc/ssl/site.pem;
url = https://host:8443/@scope/x
mail = someone@example.org, other@example.org
git@example.org:x/y.git
ssh://host/path
Listen [::]:80
key_mgmt=WPA-PSK
allow-hotplug eth0
UUID=3b5c1c4e-5a3e-4f0f-9c57-d1a3b5b1f9aa / ext4 errors=remount-ro 0 1
<dump> <pass>
PASS_MAX_DAYS   99999
token_ttl: 3600
password: null
password =
requirepass: false
"secrets": {
credentials: [
sk-learn = 1
deb [signed-by=/usr/share/keyrings/x.gpg] http://deb.example.org/debian stable main
*/5 * * * * root run-parts /etc/cron.d
-----BEGIN CERTIFICATE-----
MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ
-----END CERTIFICATE-----
<tokens><a>b</a></tokens>
root:x:0:0:root:/root:/bin/bash
root:*:19000:0:99999:7:::
bob ALL=(ALL) NOPASSWD: /usr/bin/x, /usr/bin/y
"""


@pytest.mark.parametrize("line", UNTOUCHED.splitlines())
def test_lines_without_a_secret_stay(line: str) -> None:
    assert redact_text(b"/etc/x.conf", line.encode()).decode() == line


def test_text_without_a_secret_stays() -> None:
    for end in ("\n", "\r\n"):
        text = UNTOUCHED.replace("\n", end).encode()
        assert redact_text(b"/etc/x.conf", text) == text
    assert redact_text(b"/etc/x", b"caf\xe9\nx\n\n") == b"caf\xe9\nx\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str
    raw: bytes = b""
    words: tuple[str, ...] = ()
    number: int = 7
    flag: bool = False
    word: str = ""


THINGS = Scope(
    "things",
    Table(
        "thing",
        Thing,
        (
            Field("name", key=True),
            Field("raw", Type.RAW, secret=True),
            Field("words", Type.WORDS, secret=True),
            Field("number", Type.NUMBER, default=7, secret=True),
            Field("flag", Type.FLAG, secret=True),
            Field("word", Type.WORD, choices=("a",), secret=True),
        ),
    ),
)


def test_rows_by_their_marks() -> None:
    row = Thing(name="x", raw=b"r", words=("a", "b"), number=3, flag=True, word="a")
    assert hide(row, THINGS) == Thing(name="x", raw=b"(hidden)", words=("(hidden)",))
    assert THINGS.element(hide(row, THINGS))


@pytest.mark.parametrize(
    ("password", "shown"),
    [
        ("$6$ab$cd", "(hidden)"),
        ("!$6$ab$cd", "!(hidden)"),
        ("!!$6$ab$cd", "!!(hidden)"),
        ("", ""),
        ("*", "*"),
        ("!", "!"),
        ("!*", "!*"),
        ("x", "x"),
        ("xx", "(hidden)"),
        ("plain", "(hidden)"),
    ],
)
def test_passwords_of_accounts(password: str, shown: str) -> None:
    user = User(name="a", uid=1, gid=1, password=password)
    assert hide(user, USERS) == User(name="a", uid=1, gid=1, password=shown)
    assert hide(Group(name="a", gid=1, password=password), USERS) == Group(name="a", gid=1, password=shown)


def test_rows_without_secrets_stay_the_same() -> None:
    row: Row = FileRow(b"/x", Class.CHANGED)
    assert hide(row, FILES) is row
    assert [scope.name for scope in SCOPES if any(f.secret for table in scope.tables for f in table.fields)] == [
        "users"
    ]
