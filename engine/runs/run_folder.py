"""The folder of a run: what lies where in it, and which run may write there.

folder = RunFolder('runs/D3Net_L')
folder.claim(resume=False)             # by one process, as all that writes
folder.write_config(config)
folder.save_weights(8000)
"""

import errno
import fcntl
import os
import re
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import yaml

from common import __version__, files
from common.errors import UserError
from common.log import LOG
from engine.runs import checkpoints
from models import NetworkInfo, weights

WEIGHTS = re.compile(r'model_param_(\d{8,})\.h5')


class RunFolder:
    """Paths of a run's files as attributes, and the weights among them.

    Only rank 0 calls the methods that write: ``claim``, ``write_config``, ``save_*``, ``prune``.
    Once claimed, the folder is locked until :meth:`release` or the end of the process, also by
    SIGKILL.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.config = self.path / 'config.yaml'
        self.state = self.path / 'state.h5'
        self.best = self.path / 'best.h5'
        self.final = self.path / 'final.h5'
        self.lock = self.path / 'lock'
        # Of the network; saved weights carry the statistics of its input.
        self.info: NetworkInfo | None = None
        self._locked = None

    def weights(self, iteration: int) -> Path:
        """The file of weights after ``iteration`` iterations."""
        return self.path / f'model_param_{iteration:08d}.h5'

    def saved(self) -> dict[int, Path]:
        """The files of weights that are there, by iteration, the oldest first."""
        if files.kind_of(self.path) != 'folder':
            return {}
        found = {
            int(match[1]): path
            for path in files.listing(self.path)
            if (match := WEIGHTS.fullmatch(path.name))
        }
        return dict(sorted(found.items()))

    def others(self) -> list[Path]:
        """The best and the last weights and the state, as far as they are there."""
        paths = (self.best, self.final, self.state)
        return [path for path in paths if files.kind_of(path) == 'file']

    def latest(self) -> Path | None:
        """The newest file of weights, for messages; what has this name is whole."""
        return next(reversed(self.saved().values()), None)

    def occupied(self) -> bool:
        """Whether the folder holds a run: a state, or weights with an iteration."""
        return files.kind_of(self.state) is not None or bool(self.saved())

    def claim(self, resume: bool):
        """Make the folder ready for a run and remove temporary files of killed ones.

        resume: the run that is there goes on, or one from elsewhere in a folder without a run.
        Raises ``UserError`` when it cannot be written, when a run there would be overwritten, and
        when another process has claimed it.
        """
        resumable = files.kind_of(self.state) is not None
        if self.occupied() and not (resume and resumable):
            advice = (
                'continue it with --resume, or name another folder with -o'
                if resumable
                else f'it cannot be continued, as it has no {self.state.name}; name another folder '
                f'with -o, where -p {self.latest()} starts from its weights'
            )
            raise UserError(f'{self.path}: holds a run{self._where()}: {advice}')
        if files.kind_of(self.path) == 'file':
            raise UserError(f'{self.path}: is a file; name a folder with -o')
        files.check_writable(self.config)
        self._acquire()
        files.remove_leftovers(self.path)

    def release(self):
        """Let another process claim the folder."""
        if self._locked is not None:
            self._locked.close()
            self._locked = None

    def _acquire(self):
        self.release()  # what it holds it would refuse to itself
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open(self.lock, 'a+b', buffering=0))
                if self._could_lock(file):
                    file.truncate(0)
                    file.write(f'process {os.getpid()} on {socket.gethostname()}'.encode())
            except OSError as error:
                raise UserError(f'{self.lock}: cannot be written ({error.strerror})') from error
            stack.pop_all()
            self._locked = file

    def _could_lock(self, file: BinaryIO) -> bool:
        """Whether the file could be locked; raises ``UserError`` when another process has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                who = file.read().decode(errors='replace') or 'another process'
                raise UserError(
                    f'{self.path}: {who} is training there; wait for it or end it'
                ) from error
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise
            LOG.warning('%s: cannot be locked: start no other run there', self.path)
            return False

    def write_config(self, config: Mapping, made_by: str = ''):
        """Write the effective config, which ``-cfg`` takes as any other; made_by: a line of comment
        on what else the run depends on.
        """
        text = yaml.safe_dump(dict(config), sort_keys=False, default_flow_style=None, width=100)
        comment = f'# The effective config of this run, written by nnseg {__version__}\n'
        comment += f'# {made_by}\n' if made_by else ''
        with files.replacing(self.config, durable=True) as temporary:
            temporary.write_text(comment + text, encoding='utf-8')

    def save_weights(self, iteration: int) -> Path:
        """Write the registered parameters under the name of an iteration."""
        return self._save(self.weights(iteration))

    def save_best(self) -> Path:
        """Write the registered parameters as the best ones."""
        return self._save(self.best)

    def save_final(self) -> Path:
        """Write the registered parameters as the last ones."""
        return self._save(self.final)

    def prune(self, keep: int):
        """Remove the files of weights but the ``keep`` newest; the best and the last ones stay.

        Raises ``UserError`` when one cannot be removed.
        """
        paths = list(self.saved().values())
        for path in paths[: max(0, len(paths) - keep)]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f'{path}: cannot be removed ({error.strerror})') from error

    def _save(self, path: Path) -> Path:
        """Weights that survive a crash of the machine; ``weights.save`` alone does not wait for the
        disk.
        """
        with files.replacing(path, durable=True) as temporary:
            try:
                weights.save(temporary, self.info)
            except UserError as error:
                raise UserError(str(error).replace(str(temporary), str(path))) from error
        return path

    def _where(self) -> str:
        """' at iteration N', from the state, else from the weights."""
        try:
            iteration = checkpoints.facts(self.state)['iteration']
        except UserError:  # damaged or not there; the weights tell as well, and --resume tells why
            iteration = max(self.saved(), default=None)
        return '' if iteration is None else f' at iteration {iteration}'
