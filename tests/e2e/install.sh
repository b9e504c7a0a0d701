#!/bin/sh
# Installs what the clients in other languages need, where it is missing: programs from Debian, packages from npm.
#
#   sh tests/e2e/install.sh            node, npm and the packages of tests/e2e/node/package-lock.json
#   sh tests/e2e/install.sh chromium   Chromium as well
#
# Programs need root or sudo. Packages go to tests/e2e/node/node_modules, which git ignores. One line on standard error
# says what could not be installed, and the exit status is 1.
set -eu

home=$(dirname -- "$0")/node
oldest_node=20

fail() {
	echo "$1" >&2
	exit 1
}

has() {
	command -v "$1" >/dev/null 2>&1
}

missing=""
has node || missing="$missing nodejs"
has npm || missing="$missing npm"
for wanted in "$@"; do
	[ "$wanted" = chromium ] || fail "install.sh can install chromium, not $wanted"
	has chromium || has chromium-browser || has google-chrome || missing="$missing chromium"
done
missing=${missing# }

if [ -n "$missing" ]; then
	as_root=""
	if [ "$(id -u)" != 0 ]; then
		as_root="sudo -n"
		has sudo && sudo -n true 2>/dev/null || fail "$missing: not installed; run as root: apt-get install $missing"
	fi
	has apt-get || fail "$missing: not installed, and there is no apt-get here to install it; install it by hand"
	echo "installing $missing" >&2
	# Lists of packages that are missing or old make the first try fail.
	# shellcheck disable=SC2086 # several words
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 ||
		{
			$as_root apt-get update -qq >/dev/null 2>&1 &&
				$as_root env DEBIAN_FRONTEND=noninteractive \
					apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1
		} || fail "$missing: not installed, and apt-get cannot install it; see: apt-get install $missing"
fi

version=$(node --version)
major=${version#v}
[ "${major%%.*}" -ge "$oldest_node" ] || fail "node $oldest_node or newer is needed, and $(command -v node) is $version"

# npm writes this file last, with what it has installed.
if [ ! -e "$home/node_modules/.package-lock.json" ] ||
	[ "$home/package-lock.json" -nt "$home/node_modules/.package-lock.json" ]; then
	echo "installing what $home/package-lock.json names" >&2
	if ! told=$(npm --prefix "$home" ci --no-audit --no-fund --ignore-scripts --loglevel=error 2>&1); then
		fail "npm cannot install what $home/package-lock.json names: $(printf '%s' "$told" | tr '\n' ' ' | cut -c1-300)"
	fi
	touch "$home/node_modules/.package-lock.json"
fi
