"""Export a network of :func:`models.create` with the registered parameters."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import nnabla as nn

from common import files
from common.errors import UserError
from common.memory import memory_errors_as
from common.writing import write_targets
from engine.backends.calibration import Calibration, CalibrationInputs
from engine.backends.errors import BackendError
from engine.backends.exported import MAX_COMPARED_IMAGES
from engine.export import checks, writers
from engine.export.file_inputs import batch_of
from engine.export.metadata import describe_file
from engine.export.spec import (
    FLEXIBLE_ENDINGS,
    INT8,
    LOGITS,
    ExportSpec,
    build_graph,
    check_size,
)
from engine.onnx.errors import UnsupportedError
from models import Network

MISMATCH = '.mismatch'  # appended to the name of a file whose results differ from the network's


def export(
    network: Network,
    size: tuple[int, int],
    path: Path,
    spec: ExportSpec = LOGITS,
    *,
    metadata: Mapping[str, object] | None = None,
    check: bool = True,
    calibration: Calibration | None = None,
) -> str:
    """Write a network to a file in the format of its ending: .onnx, .xml, .nnp or .nnb.

    The file, and the one beside it, replace older ones atomically.

    Args:
        network: Network whose parameters are registered.
        size: Height and width of the images. For a file of a free size, int8 is calibrated at it.
        path: File to write.
        spec: Specification of input and output.
        metadata: Further facts to store in the file's metadata.
        check: Whether to run the file on a photo and compare it with NNabla, if its runtime is
            installed.
        calibration: Images on which int8 is calibrated.

    Returns:
        A sentence that describes the check.

    Raises:
        UserError: The export is impossible, the memory does not suffice for the check, the runtime
            refuses the file, or its results differ from the network's. In the last two cases the
            file is kept as ``FILE.mismatch``.
    """
    path = Path(path)
    spec.check(path)
    check_size(network.name, network.info, size)
    context = nn.Context(['cpu:float'], 'CpuCachedArray', '0')
    write = writers.WRITERS[path.suffix.lower()]
    facts = describe_file(network, size, spec, metadata or {})
    if spec.precision == INT8 and calibration is None:
        raise UserError(f'{path}: int8 needs images to be calibrated on; pass calibration')
    several = len(facts.get('tasks', ())) > 1
    if several and path.suffix.lower() not in FLEXIBLE_ENDINGS:
        raise UserError(
            f'{path}: networks with several tasks are exported to {" and ".join(FLEXIBLE_ENDINGS)} '
            'only; name such a file'
        )
    if 'tasks' in facts and spec.precision == INT8:
        raise UserError(f'{path}: int8 is for networks with one picture and one task; use float32')
    shape, convert = (spec.batch or 1, 3, *size), partial(batch_of, spec=spec)
    inputs = None if calibration is None else calibration.inputs(shape, convert)
    with nn.context_scope(context), files.replacing(path) as temporary, ExitStack() as second:
        try:
            content = write(temporary, build_graph(network, size, spec), spec, facts, inputs)
        except UnsupportedError as error:
            remedy = '; export it for a --size of numbers, such as 512x1024' * spec.free_size
            raise UserError(f'{network.name} cannot be exported: {error}{remedy}') from error
        written, other = {path: temporary}, writers.beside(path)
        if content is not None and other is not None:  # renamed first
            written[other] = second.enter_context(files.replacing(other))
            written[other].write_bytes(content)
        report = checks.NOT_CHECKED
        if check:
            report = _check([*written.values()], network, size, spec, inputs)
        if not report.matches:
            for target, each in written.items():
                rejected = write_targets.target_of(target.with_name(target.name + MISMATCH))
                os.replace(each, rejected)
            kept = path.with_name(path.name + MISMATCH)
            raise UserError(f'{path}: not written, {report}; it is kept as {kept}')
    return str(report)


def _check(
    written: Sequence[Path],
    network: Network,
    size: tuple[int, int],
    spec: ExportSpec,
    inputs: CalibrationInputs | None,
) -> checks.ExportCheck:
    """Run a file, of which there may be a second one, as :func:`checks.check_file` does."""
    path, *others = written
    count = min(MAX_COMPARED_IMAGES, len(inputs or ()))
    images = [] if inputs is None else [inputs.image(index) for index in range(count)]
    weights = others[0].read_bytes() if others else None
    lacking = (
        f'not enough memory to run {network.name} on {size[0]}x{size[1]} pixels; export it for a '
        'smaller --size, or leave more memory to this program'
    )
    try:
        with memory_errors_as(UserError, lacking):
            return checks.check_file(path, network, size, spec, weights, images)
    except BackendError as error:
        return checks.ExportCheck(False, error.what)
