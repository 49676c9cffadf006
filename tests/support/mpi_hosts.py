"""Create two hosts on one machine: Linux namespaces with separate names and network devices.

A virtual Ethernet cable connects them. The namespaces exist until their holder processes end, and
all files are in the test's folder. Creating them requires root and a kernel that allows it.
"""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

from support import mpi_jobs

NAMES, ADDRESSES = ('first', 'second'), ('10.99.0.1', '10.99.0.2')
COMMAND_SECONDS = 10  # timeout of each command

# The program that mpirun calls instead of ssh, with options, host and command. Like ssh, it does
# not pass the environment on, except for the variable that identifies a job's processes.
AGENT = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
pid=$(cat %s/"$1".pid); shift
exec nsenter -t "$pid" --net --uts --mount env -i PATH="$PATH" HOME="$HOME" TEST_JOB="$TEST_JOB" \\
    sh -c "$*"
"""
HOLD = """
mount --bind {folder}/hosts /etc/hosts && hostname {name} && ip link set lo up &&
echo $$ > {folder}/{name}.new && mv {folder}/{name}.new {folder}/{name}.pid && exec sleep 600
"""


class NoHostsError(Exception):
    """The hosts cannot be created on this machine; the message gives the reason."""


class TwoHosts:
    """The two hosts, which exist until their holder processes end.

    Args:
        folder: Folder of the hosts' files.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def command(self, *arguments) -> list[str]:
        """Return the command line that starts one rank on each host, from the first host."""
        hostfile, agent = self._folder / 'hostfile', self._folder / 'agent'
        options = ['--hostfile', hostfile, '--prtemca', 'plm_ssh_agent', agent]
        return self._on('first', mpi_jobs.command(2, *arguments, options=options))

    def received(self) -> int:
        """Return the number of bytes that the first host has received over the cable."""
        lines = _run(self._on('first', ['cat', '/proc/net/dev'])).splitlines()
        return next(int(line.split()[1]) for line in lines if 'cable' in line)

    def pull_the_cable(self):
        """Disconnect the hosts."""
        _run(self._on('first', ['ip', 'link', 'set', 'cable', 'down']))

    def lay_the_cable(self):
        """Connect the hosts."""
        one, two = (self._pid(name) for name in NAMES)
        end = ['ip', 'link', 'add', 'cable', 'netns']
        _run([*end, one, 'type', 'veth', 'peer', 'name', 'cable', 'netns', two])
        for name, address in zip(NAMES, ADDRESSES):
            _run(self._on(name, ['ip', 'addr', 'add', f'{address}/24', 'dev', 'cable']))
            _run(self._on(name, ['ip', 'link', 'set', 'cable', 'up']))

    def _on(self, name: str, command: list[str]) -> list[str]:
        namespaces = ['--net', '--uts', '--mount', f'--wd={os.getcwd()}']
        return ['nsenter', '-t', self._pid(name), *namespaces, *command]

    def _pid(self, name: str) -> str:
        return (self._folder / f'{name}.pid').read_text().strip()


@contextmanager
def two_hosts(folder: Path):
    """Create both hosts; raise ``NoHostsError`` where that is impossible."""
    lines = [f'{address} {name}\n' for name, address in zip(NAMES, ADDRESSES)]
    (folder / 'hosts').write_text('127.0.0.1 localhost\n' + ''.join(lines))
    (folder / 'hostfile').write_text(''.join(f'{name} slots=1\n' for name in NAMES))
    (folder / 'agent').write_text(AGENT % folder)
    (folder / 'agent').chmod(0o755)
    hosts, holders = TwoHosts(folder), []
    try:
        for name in NAMES:
            hold = HOLD.format(folder=folder, name=name)
            holders.append(
                subprocess.Popen(
                    ['unshare', '--net', '--uts', '--mount', 'sh', '-c', hold],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            ready = (folder / f'{name}.pid').exists
            mpi_jobs.wait_for(lambda: ready() or holders[-1].poll() is not None, COMMAND_SECONDS)  # noqa: B023
            if not ready():
                holders[-1].kill()
                raise NoHostsError(f'unshare: {holders[-1].stderr.read().strip()}')
        hosts.lay_the_cable()
        yield hosts
    except FileNotFoundError as error:
        raise NoHostsError(f'{error.filename} is not installed') from error
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def _run(command: list[str]) -> str:
    process = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    if process.returncode:
        raise NoHostsError(f'{" ".join(command)}: {process.stderr.strip()}')
    return process.stdout
