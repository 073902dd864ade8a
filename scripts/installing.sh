# shellcheck shell=bash
# What scripts/install-* have in common; they source it. What they install goes into .tools/, or where a lock file of npm is, and git
# ignores both. Nothing else is touched but the caches of Go, npm and pip, and root is not needed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools

# One at a time: of two makes, one would remove what the other is making. The script is run anew by `flock`, which lets go when the script
# ends, whatever that leaves running (--close). Scripts that it calls go on under its lock.
if [[ -z ${INSTALLING:-} ]]; then
    mkdir -p "$tools"
    INSTALLING=1 exec flock --close "$tools/.lock" "$0" "$@"
fi

# What whoever installs it by himself may do instead; `fail` says it too.
instead=''

fail() {
    printf '%s\n' "$*" ${instead:+"$instead"} | sed "s|^|${0##*/}: |" >&2
    exit 1
}

# A folder of our own that is gone when the script ends. It is in .tools/, so that what is in it can be moved into place at once: whoever
# looks sees all of it or nothing.
make_work() {
    mkdir -p "$tools"
    work=$(mktemp -d "$tools/${0##*/}.XXXXXX")
    trap 'rm -rf "$work"' EXIT
}

# Are these packages, `name==version` each, in the virtual environment $1?
has_packages() {
    "$1/bin/python" -c 'import importlib.metadata, sys
for wanted in sys.argv[1:]:
    name, _, version = wanted.partition("==")
    # One says v0.0.21 of itself.
    if importlib.metadata.version(name).removeprefix("v") != version:
        sys.exit(1)' "${@:2}" 2>/dev/null
}

# Makes the virtual environment $1 with these packages, from whichever index pip is set up for; nothing is done if they are there.
install_packages() {
    local venv=$1
    has_packages "$@" && return
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail 'python3 of version 3.11 or later is needed'
    rm -rf "$venv"
    mkdir -p "${venv%/*}"
    python3 -m venv "$venv" || fail 'python3 with venv is needed'
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${@:2}" || fail 'pip could not install the packages; its message is above'
    has_packages "$@" || fail "pip installed something else than ${*:2}"
    echo "${0##*/}: ${*:2}"
}

need_node() {
    type node npm >/dev/null 2>&1 || fail 'npm is needed, and Node 20.19 or newer'
    printf 'v20.19\n%s\n' "$(node --version)" | sort --check=quiet --version-sort ||
        fail "Node 20.19 or newer is needed; this is $(node --version)"
}

# Installs what the lock file in the folder $1 pins, from whichever registry npm is set up for; nothing is done if that is there.
install_locked() {
    local lock=$root/$1/package-lock.json modules=$root/$1/node_modules
    cmp --silent "$lock" "$modules/.installed" && return
    need_node
    npm ci --prefix "$root/$1" --ignore-scripts --no-audit --no-fund --loglevel=error || fail 'npm could not install; its message is above'
    # The mark comes last: whoever sees it sees everything.
    cp "$lock" "$modules/.installed"
    echo "${0##*/}: $modules"
}

# Makes `apt`, which is apt-get with lists and downloads of its own, and fetches the lists. `make_work` comes first.
fetch_lists() {
    type apt-get dpkg-deb >/dev/null 2>&1 || fail 'apt-get and dpkg-deb are needed'
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    apt update 2>"$work/messages" || fail "apt-get update: $(tail -n 3 "$work/messages")"
}

apt() {
    apt-get -qq -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o Debug::NoLocking=true \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

# Fetches just these packages of Debian, without what they depend on.
fetch_alone() {
    (cd "$work/cache/archives" && apt download "$@") >"$work/messages" 2>&1 ||
        fail "apt-get could not download $*: $(tail -n 3 "$work/messages")"
}

# Fetches these packages of Debian, and of what they depend on whatever this machine has not.
fetch_whole() {
    apt --yes --download-only --no-install-recommends install "$@" >"$work/messages" 2>&1 ||
        fail "apt-get could not download $*: $(tail -n 3 "$work/messages")"
}

# Unpacks what was fetched, and puts it in place of the folder $1.
unpack_into() {
    local package
    mkdir "$work/root"
    for package in "$work"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$work/root" || fail "$package could not be unpacked"
    done
    rm -rf "$1"
    mv "$work/root" "$1"
}

# Writes $1, a command that runs the program $3 with the libraries below $2, and with these variables.
write_command() {
    local libraries
    libraries=$(find "$2" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd:)
    rm -f "$1"
    {
        # Not sh: what %q writes for letters beyond ASCII is bash's own.
        printf '#!/bin/bash\nexport'
        printf ' %q' "LD_LIBRARY_PATH=$libraries" "${@:4}"
        printf '\nexec %q "$@"\n' "$3"
    } >"$1"
    chmod 755 "$1"
}

# Is the program $1 there, and of the Go module $2 of the version $3? What was built says so of itself.
is_of_module() {
    [[ $("$tools/go/bin/go" version -m "$1" 2>/dev/null | awk -v module="$2" '$1 ~ /mod|dep/ && $2 == module { print $3 }') == "$3" ]]
}

# Builds the program $1 of the Go module $2 of the version $3 from its package $4; nothing is done if it is there. It takes minutes. More
# arguments go to `go build`. `make_work` comes first.
#
# The module is required by one of our own: `go install …@version` refuses modules that leave out versions of others.
install_go_program() {
    local program=$1 module=$2 version=$3 package=$4
    is_of_module "$program" "$module" "$version" && return
    echo "${0##*/}: $module $version, which takes minutes"
    rm -rf "$work/module"
    mkdir -p "$work/module" "${program%/*}"
    printf 'module tools\n\ngo 1.26\n' >"$work/module/go.mod"
    # Nobody waits for it, so it leaves the machine to whoever does.
    (
        cd "$work/module"
        PATH=$tools/go/bin:$PATH
        go get -tool "$package@$version" 2>messages || { cat messages >&2; exit 1; }
        nice -n 10 go build -trimpath "${@:5}" -o "$program" "$package"
    ) || fail "$program could not be built"
}
