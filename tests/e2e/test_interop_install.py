"""What `make test-interop` and `make test-browser` install, on a machine whose programs are made up."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("install.sh")
NODE, NPM, APT = "#!/bin/sh\necho v20.20.2\n", "#!/bin/sh\n", "apt-get"


class Machine:
    """A folder of programs, and the folder of packages."""

    def __init__(self, home: Path) -> None:
        self.programs = home / "bin"
        self.programs.mkdir()
        self.log = home / "log"
        self.log.touch()
        for tool in ("sh", "dirname", "env", "cut", "tr", "touch", "cat", "chmod", "cp", "mkdir"):
            found = shutil.which(tool)
            assert found is not None
            (self.programs / tool).symlink_to(found)
        (home / "node").mkdir()
        shutil.copy(SCRIPT, home)
        self.script = home / "install.sh"
        self.lock = home / "node" / "package-lock.json"
        self.lock.write_text("{}")
        self.installed = home / "node" / "node_modules" / ".package-lock.json"
        self.user(0)

    def has(self, name: str, text: str = "#!/bin/sh\n") -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def user(self, number: int) -> None:
        self.has("id", f"#!/bin/sh\necho {number}\n")

    def apt(self, *, needs_update: bool = False, offers: tuple[str, ...] = ("nodejs", "npm", "chromium")) -> None:
        """An apt-get that writes down what it is asked for, and installs programs that do nothing."""
        made = {"nodejs": ("node", NODE), "npm": ("npm", self.npm_text()), "chromium": ("chromium", NPM)}
        cases = ""
        for package in offers:
            name, text = made[package]
            (self.programs.parent / f"{name}.text").write_text(text)
            new = f"cp {self.programs.parent}/{name}.text {self.programs}/{name}; chmod 755 {self.programs}/{name}"
            cases += f"{package}) {new} ;;\n"
        updated = self.programs.parent / "updated"
        if not needs_update:
            updated.touch()
        self.has(
            APT,
            f'#!/bin/sh\necho "apt-get $*" >>{self.log}\n'
            f'case "$1" in update) touch {updated}; exit 0 ;; esac\n'
            f"[ -e {updated} ] || exit 100\n"
            f'for each in "$@"; do case "$each" in\n{cases}install | -*) ;;\n*) exit 100 ;;\nesac; done\n',
        )

    def npm_text(self, status: int = 0) -> str:
        folder = self.installed.parent
        return (
            f'#!/bin/sh\necho "npm $*" >>{self.log}\n'
            f'[ {status} = 0 ] || {{ echo "npm error network"; exit {status}; }}\n'
            f"mkdir -p {folder}; touch {self.installed}\n"
        )

    def everything(self) -> None:
        self.has("node", NODE)
        self.has("npm", self.npm_text())

    def install(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.programs / "sh", self.script, *words],
            env={"PATH": str(self.programs)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


CI = "--no-audit --no-fund --ignore-scripts --loglevel=error"


def npm_ci(machine: Machine) -> str:
    return f"npm --prefix {machine.lock.parent} ci {CI}"


def apt_install(packages: str) -> str:
    return f"apt-get install -qq -y --no-install-recommends {packages}"


def test_what_is_missing_is_installed_and_nothing_else(machine: Machine) -> None:
    machine.has("node", NODE)
    machine.apt()
    done = machine.install("chromium")
    assert done.returncode == 0, done.stderr
    assert machine.asked() == [apt_install("npm chromium"), npm_ci(machine)]


def test_what_is_there_is_not_installed_again(machine: Machine) -> None:
    machine.everything()
    machine.apt()
    machine.has("google-chrome")
    assert machine.install("chromium").returncode == 0
    done = machine.install("chromium")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.asked() == [npm_ci(machine)]


def test_packages_are_installed_again_where_the_pins_have_changed(machine: Machine) -> None:
    machine.everything()
    assert machine.install().returncode == 0
    written = machine.installed.stat().st_mtime
    os.utime(machine.lock, (written + 10, written + 10))
    assert machine.install().returncode == 0
    assert machine.asked() == [npm_ci(machine)] * 2


def test_lists_of_packages_are_fetched_where_they_are_missing(machine: Machine) -> None:
    machine.apt(needs_update=True)
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert machine.asked() == [
        apt_install("nodejs npm"),
        "apt-get update -qq",
        apt_install("nodejs npm"),
        npm_ci(machine),
    ]


def test_sudo_installs_for_who_is_not_root(machine: Machine) -> None:
    machine.user(1000)
    machine.apt()
    machine.has("sudo", f'#!/bin/sh\necho "sudo $*" >>{machine.log}\nshift\nexec "$@"\n')
    machine.has("true")
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert machine.asked()[:3] == [
        "sudo -n true",
        f"sudo -n env DEBIAN_FRONTEND=noninteractive {apt_install('nodejs npm')}",
        apt_install("nodejs npm"),
    ]


def failed(machine: Machine, *words: str) -> str:
    """The one line that is said at the end."""
    done = machine.install(*words)
    assert done.returncode == 1
    assert done.stdout == ""
    *before, last = done.stderr.splitlines()
    assert all(line.startswith("installing ") for line in before)
    return last


@pytest.mark.parametrize("sudo", [None, "#!/bin/sh\nexit 1\n"])
def test_who_may_not_install_is_told_what_is_missing(machine: Machine, sudo: str | None) -> None:
    machine.user(1000)
    machine.apt()
    machine.has("node", NODE)
    if sudo is not None:
        machine.has("sudo", sudo)
    assert failed(machine, "chromium") == "npm chromium: not installed; run as root: apt-get install npm chromium"
    assert machine.asked() == []


def test_a_system_without_apt_get_is_told_what_is_missing(machine: Machine) -> None:
    machine.has("npm", NPM)
    assert failed(machine) == "nodejs: not installed, and there is no apt-get here to install it; install it by hand"


def test_what_apt_get_cannot_install_is_named(machine: Machine) -> None:
    machine.everything()
    machine.apt(offers=("nodejs", "npm"))
    assert failed(machine, "chromium") == (
        "chromium: not installed, and apt-get cannot install it; see: apt-get install chromium"
    )
    assert "npm" not in " ".join(machine.asked())


@pytest.mark.parametrize("version", ["v18.19.0", "v9.0.0"])
def test_a_node_that_is_too_old_is_named(machine: Machine, version: str) -> None:
    machine.everything()
    machine.has("node", f"#!/bin/sh\necho {version}\n")
    assert failed(machine) == f"node 20 or newer is needed, and {machine.programs}/node is {version}"
    assert machine.asked() == []


def test_what_npm_cannot_install_is_named_with_its_reason_and_tried_again_next_time(machine: Machine) -> None:
    machine.everything()
    machine.has("npm", machine.npm_text(status=1))
    assert failed(machine) == f"npm cannot install what {machine.lock} names: npm error network"
    machine.everything()
    assert machine.install().returncode == 0
    assert machine.asked() == [npm_ci(machine)] * 2


def test_a_program_that_it_does_not_know_is_refused(machine: Machine) -> None:
    machine.everything()
    assert failed(machine, "firefox") == "install.sh can install chromium, not firefox"


def test_the_pins_name_no_host_and_every_package_has_its_hash() -> None:
    lock = SCRIPT.parent / "node" / "package-lock.json"
    text = lock.read_text("utf-8")
    assert '"resolved"' not in text
    assert text.count('"integrity": "sha512-') == text.count('    "node_modules/')
