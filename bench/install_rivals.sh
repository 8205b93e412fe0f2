#!/bin/sh
# Installs the tools that snapstore is compared with, as far as this machine can, and prints their versions.
#
#   RIVALS      which ones (default: "restic borg rustic"; zstd and rsync always, kopia only where it is on PATH already)
#   RIVALS_DIR  where those go that the system's packages are too old for (default: ~/.cache/snapstore-bench/rivals)
#
# Running it again installs nothing that is already there. Only the lack of every wanted rival is an error.
set -eu

RIVALS=${RIVALS:-restic borg rustic}
RIVALS_DIR=${RIVALS_DIR:-$HOME/.cache/snapstore-bench/rivals}
mkdir -p "$RIVALS_DIR"

have() { command -v "$1" >/dev/null 2>&1; }
wanted() { case " $RIVALS " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
say() { printf '%s\n' "$*" >&2; }

apt_install() {
    if ! have apt-get; then
        say "no apt-get: not installed: $*"
    elif [ "$(id -u)" -ne 0 ]; then
        say "not root: install these by hand: $*"
    else
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" ||
            say "apt-get could not install: $*"
    fi
}

# From the system's packages whatever is not there yet.
missing=
have zstd || missing="$missing zstd"
have rsync || missing="$missing rsync"
if wanted restic && ! have restic; then missing="$missing restic"; fi
# The unquoted list is meant to be split.
# shellcheck disable=SC2086
[ -z "$missing" ] || apt_install $missing

# The newest borg 1.x, in an environment of its own.
if wanted borg && [ ! -x "$RIVALS_DIR/borg/bin/borg" ]; then
    apt_install python3-venv python3-dev gcc pkg-config libacl1-dev libssl-dev libxxhash-dev liblz4-dev libzstd-dev
    python3 -m venv "$RIVALS_DIR/borg"
    if ! "$RIVALS_DIR/borg/bin/pip" install -q 'borgbackup<2'; then
        rm -rf "$RIVALS_DIR/borg"
        say "the newest borg could not be built"
        have borg || apt_install borgbackup
    fi
fi

# rustic takes some minutes to compile.
if wanted rustic && have cargo && [ ! -x "$RIVALS_DIR/rustic/bin/rustic" ] && ! have rustic; then
    cargo install rustic-rs --locked --quiet --root "$RIVALS_DIR/rustic" || say "rustic could not be built"
fi

version() { # name, program, argument
    if [ -x "$RIVALS_DIR/$2/bin/$2" ]; then
        printf '%-7s %s\n' "$1" "$("$RIVALS_DIR/$2/bin/$2" "$3" | head -n 1)"
    elif have "$2"; then
        printf '%-7s %s\n' "$1" "$("$2" "$3" | head -n 1)"
    else
        printf '%-7s not here\n' "$1"
        return 1
    fi
}

found=0
version restic restic version && found=1
version borg borg --version && found=1
version rustic rustic --version && found=1
version kopia kopia --version && found=1
version zstd zstd --version || :
version rsync rsync --version || :
if [ "$found" -eq 0 ]; then
    say "no rival could be installed"
    exit 1
fi
