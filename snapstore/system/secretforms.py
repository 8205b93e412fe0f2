"""The forms that secrets have in configuration files, as patterns over one line or one text.

Each is linear in the length of what it is given, or bounded by the length of a line (`redaction.LINE_LIMIT`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def _any(*alternatives: bytes) -> bytes:
    return b"(?:" + b"|".join(alternatives) + b")"


# -- whole files, by path ---------------------------------------------------------------------------------------------

HASH_PATH = re.compile(
    _any(
        rb"/etc/g?shadow[^/]*",
        rb"/etc/master\.passwd",
        rb"/etc/security/opasswd[^/]*",
        rb"/[^/]*htpasswd[^/]*",
        rb"/[^/]*htdigest[^/]*",
    )
    + rb"\Z"
).search

KEY_PATH = re.compile(
    _any(
        rb"/ssh_host_[a-z0-9]+_key",
        rb"/\.ssh/id_[a-z0-9_]+",
        rb"/private/[^/]+",
        rb"/[^/]*\.key",
        rb"/[^/]*\.keytab",
        rb"/[^/]*\.(?:ppk|p12|pfx|jks|kdbx)",
        rb"/privkey[^/]*\.pem",
        rb"/private_key\.json",
        rb"/private-keys-v1\.d/[^/]+",
        rb"/secring\.gpg",
    )
    + rb"\Z"
).search

SECRET_PATH = re.compile(
    _any(
        rb"/(?:chap|pap)-secrets",
        rb"/[^/]*\.secrets",
        rb"/\.?pgpass(?:\.conf)?",
        rb"/sasl_passwd",
        rb"/passwd\.client",
        rb"/credstore(?:\.encrypted)?/[^/]+",
        rb"/\.git-credentials",
        rb"/\.docker/config\.json",
        rb"/\.erlang\.cookie",
        rb"/[^/]*keyring",
    )
    + rb"\Z"
).search

# -- whole files and blocks, by content -------------------------------------------------------------------------------

_BEGIN_KEY = rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY[A-Z0-9 ]*)-----"
KEY_START = re.compile(rb"\s*" + _any(_BEGIN_KEY, rb"PuTTY-User-Key-File-", rb"AGE-SECRET-KEY-1")).match
KEY_BLOCK = re.compile(_BEGIN_KEY + rb"(?:.*?-----END \1-----|.*\Z)", re.DOTALL)
SHADOW_LINE = re.compile(rb"[^:\s]+:[^:\s]*(?::-?[0-9]*){6}:[^:]*\Z").match
SHADOW_HASH = re.compile(rb"[^:\s]+:[!*]*(?:\$[^:\s]|[./A-Za-z0-9]{13}:)").match

# -- what is a secret wherever it stands ------------------------------------------------------------------------------

_BASE64 = rb"[A-Za-z0-9+/]"
ALONE = re.compile(
    _any(
        # crypt(5), and what other programs made after it
        rb"\$(?:[1-7]|2[abxy]|y|gy|md5|sha1|apr1|argon2(?:id?|d)|scrypt|pbkdf2[a-z0-9-]*|[PHS])\$[./A-Za-z0-9$=,+-]{8,}",
        rb"\{(?:S?SHA(?:256|384|512)?|S?MD5|CRYPT|PBKDF2[A-Z0-9-]*|ARGON2)\}[^\s:\"']{6,}",
        rb"SCRAM-SHA-(?:1|256|512)\$[0-9]+:[^\s\"']+",
        rb"\*[0-9A-F]{40}(?![0-9A-Za-z])",
        rb"(?<![0-9A-Za-z])md5[0-9a-f]{32}(?![0-9A-Za-z])",
        # tokens that say by their beginning what they are
        rb"(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|glpat-)[A-Za-z0-9_-]{16,}",
        rb"(?<![A-Za-z0-9])(?:xox[abeoprs]-|sk-|AGE-SECRET-KEY-1)[A-Za-z0-9_-]{20,}",
        rb"(?<![A-Za-z0-9])AKIA[0-9A-Z]{16}",
        rb"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        rb"\bBearer[ \t]+[A-Za-z0-9._~+/-]{20,}=*",
        rb"\bBasic[ \t]+(?=%b*[0-9+/=])%b{8,}={0,2}(?![A-Za-z0-9])" % (_BASE64, _BASE64),
    )
)
OLD_HASH = re.compile(rb"^([^:\s]+:)[./A-Za-z0-9]{13}(?=:[0-9]*:[0-9]*:)", re.MULTILINE)
URL_USER = re.compile(rb"""(://)(?!\(hidden\)@)[^\s/"'<>?#`]+@""")
# A password that is not encoded may hold any sign; but a number is the port of an address without one.
URL_PASSWORD = re.compile(rb"""(://)[^\s/:@"'<>`]*:(?![0-9]{1,5}(?:[/?#\s]|\Z))[^\s"'<>`]+@""")

# -- names, and what stands between a name and its value --------------------------------------------------------------

_NO_PASS = b"".join(b"(?<!%b_)" % each for each in (b"proxy", b"fastcgi", b"uwsgi", b"scgi", b"grpc", b"memcached"))
_KEYS = b"api access private preshared secret encryption signing auth account shared master license".split()
NAME = (
    _any(
        rb"(?<!\bno)pass(?:word|wd|phrase|code)",  # but not NOPASSWD: of sudoers(5)
        rb"secret",
        rb"token",
        rb"credential",
        rb"(?<![A-Za-z])%bpass" % _NO_PASS,
        rb"(?:db|sql|user|root|admin|smtp|ftp|auth|require)_?pass",
        rb"(?<![A-Za-z])pwd",
        rb"(?:db|user|root)_?pwd",
        rb"(?:bind|root|user)_?pw",
        rb"masterauth",
        rb"psk",
        rb"wep[_-]key",
        rb"%b[_ -]?key" % _any(*_KEYS),
    )
    + rb"s?(?:[_-]?(?:hash|base|value|crypt(?:ed)?|encrypted|string|text|plain))?(?:[_-]?[0-9]{1,3})?"
)
_CLOSED = rb"""["'\])}]{0,3}[ \t]*"""


def _compiled(patterns: Iterable[bytes]) -> tuple[re.Pattern[bytes], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


# Where a match ends, a value begins that goes on to the end of its quotes, or of the line.
BEFORE_VALUE = _compiled(
    (
        NAME + _CLOSED + rb"(?::=|\?=|\+=|=>|==?|:(?!:|//))[ \t]*",  # password = , "token": , 'secret' =>
        rb"""\([ \t]*(["'])[\w.-]*?(?:%b|_key|_salt)\1[ \t]*,[ \t]*(?=["'])""" % NAME,  # define('DB_PASSWORD', '
        NAME + _CLOSED + rb"""(?:[ \t](?:as[ \t]+|is[ \t]+)?|\()[ \t]*(?=["'])""",  # PASSWORD ' , secret " , PASSWORD('
        rb"""identified[ \t]+(?:by|with|via|as)(?:[ \t]+\w+){0,3}[ \t]*\(?[ \t]*(?=["'])""",  # SQL
        rb"""authorization["']?[ \t]*[:=][ \t]*""",  # a header of HTTP
        rb"""authorization["']?[ \t,]+(?=["'])""",
        rb"""(?:name|key|id)=["'][\w:./-]*?%b["'][^<>]*?\bvalue=(?=["'])""" % NAME,  # XML attributes
        rb"\A[ \t]*(?:set[ \t]+)?[\w.$-]*?%b[ \t]+(?=[^\s=:{\[(<\"']+[ \t]*;?\Z)" % NAME,  # requirepass x
        rb"\A[#]?\S+[ \t]+\S+/\S+[ \t]+password[ \t]+(?=\S)",  # debconf-set-selections(1)
    )
)
# Where a match ends, a value begins that goes on to the end of its quotes, or to the next blank.
BEFORE_WORD = _compiled(
    (
        rb"(?<![\w-])--?[\w-]*%b[ \t]+(?=[^\s-])" % NAME,  # --password x
        rb"\b(?:machine|login|default)\b.*?\bpassword[ \t]+(?=\S)",  # netrc(5)
        rb"(?<!\S)(?:-u|-U|--user|--proxy-user)(?:[ \t]+|=)(?=[\"']?[^\s:\"']+:[^\s])",  # curl(1)
        rb"\bsshpass[ \t]+-p[ \t]*(?=\S)",
    )
)
TRIGGER = re.compile(
    NAME + rb"|identified|authorization|_key|_salt|login|machine|-u|--user|--proxy-user|sshpass", re.IGNORECASE
)
XML_ELEMENT = re.compile(rb"(<([\w:.-]+)(?:[ \t][^<>]*)?>)([^<]+|<!\[CDATA\[(?:[^\]<]|<(?!!)|\](?!\]>))*+\]\]>)(?=</)")
XML_KEY = re.compile(rb"(<(key|name)>([^<]*)</\2>\s*<(string|value)>)([^<]+)(?=</)")
NAME_END = re.compile(NAME + rb"\Z", re.IGNORECASE).search

# -- values that are none ---------------------------------------------------------------------------------------------

HARMLESS = re.compile(
    rb"(?:yes|no|true|false|on|off|none|null|nil|undef|enabled?|disabled?|required|optional"
    rb"|[{\[(|>~]|[{\[(][)}\]]|\(hidden\))?[,;]?\Z",
    re.IGNORECASE,
).match
BLOCK_SCALAR = re.compile(rb"[|>][+-]?[0-9]?[+-]?[ \t]*(?:#.*)?\Z").match
# Which databases a name service looks in (nsswitch.conf(5)): names of services, after a name like a secret's.
NAME_SERVICES = re.compile(
    rb"(?:passwd|shadow)(?:_compat)?:(?:[ \t]++(?:files|compat|db|nis|nisplus|ldap|sss|systemd|winbind|hesiod"
    rb"|extrausers|altfiles|mymachines|\[[^\]]*\]))+[ \t]*\Z"
).match
