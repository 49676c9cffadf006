"""A Slurm cluster of this machine alone, where Slurm is installed (Debian: slurm-wlm)."""

import os
import secrets
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support import mpi_jobs

DAEMONS = 'munged', 'slurmctld', 'slurmd'
SYSTEM_PATH = f'{os.environ["PATH"]}:/usr/sbin:/sbin'
NODE = 'here'
GPUS = 2  # pretended: Slurm hands out the null device
COMMAND_SECONDS = 20
CONFIG = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2,requeue_delay=1
GresTypes=gpu
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cores} Gres=gpu:{gpus}
PartitionName=all Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


class NoSlurmError(Exception):
    """A cluster cannot be started on this machine; the message gives the reason."""


class Cluster:
    """A running cluster of one node.

    Args:
        folder: Folder of its files.
    """

    def __init__(self, folder: Path):
        self._environment = {
            **os.environ,
            'PATH': SYSTEM_PATH,
            'SLURM_CONF': str(folder / 'slurm.conf'),
            # A job runs as the user who submits it, here root, which mpirun refuses otherwise.
            **{
                f'{library}_ALLOW_RUN_AS_ROOT{suffix}': '1'
                for library in ('OMPI', 'PRTE')
                for suffix in ('', '_CONFIRM')
            },
        }

    def run(self, *command, cwd: Path | None = None) -> str:
        """Run a command of Slurm and return what it prints."""
        process = subprocess.run(
            [str(word) for word in command], env=self._environment, cwd=cwd,
            capture_output=True, text=True, timeout=COMMAND_SECONDS,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        return process.stdout

    def start(self, *daemon) -> subprocess.Popen:
        """Start a daemon in the foreground."""
        return subprocess.Popen(
            [str(word) for word in daemon], env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def fact(self, job: str, name: str) -> str:
        """Return a fact about a job, such as ``JobState``."""
        facts = self.run('scontrol', 'show', 'job', job).split()
        return dict(fact.split('=', 1) for fact in facts if '=' in fact)[name]

    def is_in_state(self, job: str, *states: str, seconds: float = 60) -> bool:
        """Wait until a job is in one of some states; return whether that happened in time."""
        return mpi_jobs.wait_for(lambda: self.fact(job, 'JobState') in states, seconds)


@contextmanager
def one_node(folder: Path):
    """Start a cluster; raise ``NoSlurmError`` where that is impossible."""
    missing = [name for name in DAEMONS if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        raise NoSlurmError(f'{", ".join(missing)} not installed')
    if os.geteuid():
        raise NoSlurmError('its daemons need root')
    for name in ('state', 'spool'):
        (folder / name).mkdir()
    _write_config(folder)
    cluster = Cluster(folder)
    with ExitStack() as stack:
        for daemon in (
            [
                'munged', '--foreground', '--force', f'--key-file={folder}/munge.key',
                f'--socket={folder}/munge.socket', f'--pid-file={folder}/munge.pid',
                f'--seed-file={folder}/munge.seed', f'--log-file={folder}/munge.log',
            ],
            ['slurmctld', '-D'],
            ['slurmd', '-D', '-N', NODE],
        ):  # fmt: skip
            stack.callback(_end, cluster.start(*daemon))
            if daemon[0] == 'munged' and not mpi_jobs.wait_for(
                (folder / 'munge.socket').exists, 10
            ):
                raise NoSlurmError('munged does not start')
        if not mpi_jobs.wait_for(lambda: _is_idle(cluster), 30):
            raise NoSlurmError('the node does not get ready')
        yield cluster


def _write_config(folder: Path):
    key = folder / 'munge.key'
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(('127.0.0.1', 0))
        ports = [each.getsockname()[1] for each in (first, second)]
    text = CONFIG.format(
        host=socket.gethostname().partition('.')[0], folder=folder, node=NODE, gpus=GPUS,
        controller_port=ports[0], node_port=ports[1], cores=os.cpu_count(),
    )  # fmt: skip
    (folder / 'slurm.conf').write_text(text)
    devices = []
    for number in range(GPUS):
        device = folder / f'gpu{number}'
        os.mknod(device, 0o20666, os.makedev(1, 3))
        devices.append(f'NodeName={NODE} Name=gpu File={device}\n')
    (folder / 'gres.conf').write_text(''.join(devices))


def _is_idle(cluster: Cluster) -> bool:
    try:
        return cluster.run('sinfo', '-h', '-o', '%t').strip() == 'idle'
    except AssertionError:  # the controller does not answer yet
        return False


def _end(daemon: subprocess.Popen):
    daemon.terminate()
    try:
        daemon.wait(15)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
