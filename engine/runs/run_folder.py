"""The folder of a training run: paths of its files, locking, and saved weights.

folder = RunFolder('runs/D3Net_L')
folder.claim(resume=False)             # in one process only, like all methods that write
folder.write_config(config)
folder.save_weights(8000)
"""

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import yaml

from common import __version__, files
from common.errors import UserError
from common.log import LOG
from common.terminal.printable import one_line
from common.writing import lock_files, write_targets
from engine.runs import checkpoints
from models import NetworkInfo, weights
from models.class_table import ClassTable

WEIGHTS_NAME = re.compile(r'model_param_(\d{8,})\.h5')
CONFIG_NAME = 'config.yaml'
HEAD_LINE = '# The effective config of this run, written by nnseg'  # starts every such file


class RunFolder:
    """The folder of a run.

    Only rank 0 may call the methods that write: ``claim``, ``write_config``, ``save_*``, ``prune``.
    ``claim`` locks the folder until :meth:`release` or until the process ends, even by SIGKILL.

    Attributes:
        path: The folder.
        config: File of the effective config.
        state: File of the training state.
        best: Weights with the best validation score.
        final: Weights after the last iteration.
        lock: File that a training locks while it runs.
        info: Facts about the network, whose input mean and std are saved with the weights; None
            to save none.
        classes: Names and colours of the classes, which are saved with the weights; None to save
            none.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.config = self.path / CONFIG_NAME
        self.state = self.path / 'state.h5'
        self.best = self.path / 'best.h5'
        self.final = self.path / 'final.h5'
        self.lock = self.path / 'lock'
        self.info: NetworkInfo | None = None
        self.classes: ClassTable | None = None
        self._locked = None

    @classmethod
    def of_config(cls, config: Path) -> 'RunFolder | None':
        """Return the run whose effective config a file is; None for any other config.

        Two of three signs suffice: the file's name, its head line, and a state, weights of an
        iteration or a lock beside it. A copy of the file elsewhere, under another name, is a
        config like any other.

        Raises:
            UserError: The folder cannot be read.
        """
        run = cls(config.parent)
        try:
            with open(config, encoding='utf-8', errors='replace') as file:
                written = file.readline(len(HEAD_LINE) + 1).startswith(HEAD_LINE)
        except OSError:  # the caller reads the file, and reports the error
            return None
        named = config.name == CONFIG_NAME
        if not named and not written:
            return None
        both = named and written
        return run if both or run.occupied() or files.kind_of(run.lock) == 'file' else None

    def weights(self, iteration: int) -> Path:
        """Return the path of the weights after ``iteration`` iterations."""
        return self.path / f'model_param_{iteration:08d}.h5'

    def saved(self) -> dict[int, Path]:
        """Return the existing files of weights by iteration, the oldest first."""
        if files.kind_of(self.path) != 'folder':
            return {}
        found = {
            int(match[1]): path
            for path in files.listing(self.path)
            if (match := WEIGHTS_NAME.fullmatch(path.name)) and files.kind_of(path) == 'file'
        }
        return dict(sorted(found.items()))

    def others(self) -> list[Path]:
        """Return the existing files among those of best weights, final weights and state."""
        paths = (self.best, self.final, self.state)
        return [path for path in paths if files.kind_of(path) == 'file']

    def latest(self) -> Path | None:
        """Return the newest file of weights, which is complete; None if there is none."""
        return next(reversed(self.saved().values()), None)

    def own_weights(self) -> Path | None:
        """Return the weights that stand for the run; None if none are saved.

        They are the best ones, else the final ones, else those of the latest iteration.
        """
        chosen = (path for path in (self.best, self.final) if files.kind_of(path) == 'file')
        return next(chosen, None) or self.latest()

    def occupied(self) -> bool:
        """Return whether the folder holds a run: a state, or weights with an iteration."""
        return files.kind_of(self.state) is not None or bool(self.saved())

    def claim(self, resume: bool):
        """Create and lock the folder, and remove temporary files of killed runs.

        Args:
            resume: As for :meth:`check_vacant`.

        Raises:
            UserError: The folder cannot be written, a run in it would be overwritten, another
                process has locked it, or it holds a pipe or a device.
        """
        self.check_vacant(resume)
        files.check_writable(self.config)
        self._acquire()
        write_targets.refuse_streams(self.path)
        write_targets.remove_leftovers(self.path)

    def check_vacant(self, resume: bool):
        """Check that the folder holds no run that would be overwritten; change nothing.

        Args:
            resume: Whether to resume the run in the folder, or, in an empty folder, a run from
                elsewhere.

        Raises:
            UserError: The folder holds such a run, or is a file.
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

    def release(self):
        """Unlock the folder for other processes."""
        if self._locked is not None:
            self._locked.close()
            self._locked = None

    def _acquire(self):
        self.release()  # the system would refuse a second lock to this process
        with ExitStack() as stack:
            file = stack.enter_context(lock_files.open_lock(self.lock))
            try:
                if not lock_files.try_lock(file):
                    raise UserError(
                        f'{self.path}: {lock_files.holder(file)} is training there; wait for it or '
                        'end it'
                    )
                lock_files.sign(file)
            except OSError as error:
                if error.errno not in lock_files.NOT_SUPPORTED:
                    raise UserError(f'{self.lock}: cannot be written ({error.strerror})') from error
                LOG.warning('%s: cannot be locked: start no other run in this folder', self.path)
            stack.pop_all()
            self._locked = file

    def write_config(self, config: Mapping, made_by: str = ''):
        """Write the effective config as a file that ``-cfg`` accepts.

        Args:
            config: The effective config.
            made_by: Comment that names other influences on the run, such as its command line.
        """
        text = yaml.safe_dump(
            dict(config), sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
        )
        comment = f'{HEAD_LINE} {__version__}\n'
        comment += f'# {one_line(made_by)}\n' if made_by else ''
        with files.replacing(self.config, durable=True) as temporary:
            temporary.write_text(comment + text, encoding='utf-8', errors='backslashreplace')

    def save_weights(self, iteration: int) -> Path:
        """Write the registered parameters as the weights of an iteration."""
        return self._save(self.weights(iteration))

    def save_best(self) -> Path:
        """Write the registered parameters as the best weights."""
        return self._save(self.best)

    def save_final(self) -> Path:
        """Write the registered parameters as the final weights."""
        return self._save(self.final)

    def prune(self, keep: int):
        """Remove all but the ``keep`` newest files of weights, except the best and final weights.

        Raises:
            UserError: A file cannot be removed.
        """
        paths = list(self.saved().values())
        for path in paths[: max(0, len(paths) - keep)]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f'{path}: cannot be removed ({error.strerror})') from error

    def _save(self, path: Path) -> Path:
        """Write weights and wait for the disk, which ``weights.save`` does not do."""
        with files.replacing(path, durable=True) as temporary:
            try:
                weights.save(temporary, self.info, self.classes)
            except UserError as error:
                raise UserError(str(error).replace(str(temporary), str(path))) from error
        return path

    def _where(self) -> str:
        """Return ' at iteration N' from the state or else from the weights; '' if unknown."""
        try:
            iteration = checkpoints.load_facts(self.state)['iteration']
        except UserError:  # damaged or missing, as --resume reports; weights have an iteration, too
            iteration = max(self.saved(), default=None)
        return '' if iteration is None else f' at iteration {iteration}'
