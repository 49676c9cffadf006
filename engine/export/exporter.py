"""Exporting a network of :func:`models.create` with the parameters that are registered."""

from collections.abc import Mapping
from pathlib import Path

import nnabla as nn

from common import files
from common.errors import UserError
from common.memory import memory_errors_as
from engine.backends.errors import BackendError
from engine.export import checks, writers
from engine.export.spec import LOGITS, ExportSpec, build, check_size, describe
from models import Network

MISMATCH = '.mismatch'  # what is added to the name of a file that computes something else


def export(
    network: Network,
    size: tuple[int, int],
    path: Path,
    form: ExportSpec = LOGITS,
    *,
    metadata: Mapping[str, object] | None = None,
    check: bool = True,
) -> str:
    """Write ``network`` for images of ``size = (height, width)``; the ending says in which format.

    metadata: what the file says about itself beside what is known here. check: run the file, where
    its runtime is installed, on a photo, and compare with NNabla. Returns a sentence on what was
    checked. The file is whole at any moment. Raises ``UserError``: also when the file cannot be run
    or does not compute what the network does, which then lies beside as ``FILE.mismatch``.
    """
    path = Path(path)
    form.check(path)
    check_size(network.name, network.info, size)
    context = nn.Context(['cpu:float'], 'CpuCachedArray', '0')
    with nn.context_scope(context), files.replacing(path) as temporary:
        image, output = build(network, size, form)
        facts = describe(network, size, form) | dict(metadata or {})
        beside = writers.WRITERS[path.suffix.lower()](temporary, image, output, form, facts)
        report = _check(temporary, network, size, form) if check else checks.NONE
        if not report.matches:
            rejected = path.with_name(path.name + MISMATCH)
            temporary.replace(rejected)
            raise UserError(f'{path}: not written, {report}; it is kept as {rejected}')
        if beside is not None:
            with files.replacing(path.with_name(path.name + '.json')) as description:
                description.write_text(beside, encoding='utf-8')
    return str(report)


def _check(
    path: Path, network: Network, size: tuple[int, int], form: ExportSpec
) -> checks.ExportCheck:
    lacking = (
        f'not enough memory to run {network.name} on {size[0]}x{size[1]} pixels; export it for a '
        'smaller --size, or leave more memory to this program'
    )
    try:
        with memory_errors_as(UserError, lacking):
            return checks.check(path, network, size, form)
    except BackendError as error:
        return checks.ExportCheck(False, error.what)
