"""Files that an evaluation of several tasks writes per image, a folder for each task."""

from pathlib import Path

from common.errors import UserError
from common.tasks import CLASSES, SEGMENTATION, Task
from datasets import Dataset, depth_files, image_files
from engine.evaluation import image_outputs, task_panels
from engine.evaluation.image_outputs import Output
from engine.evaluation.scenes import SceneResult


def pictures(dataset: Dataset, folder: Path) -> Output[SceneResult]:
    """Return the output of pictures with image, truth, prediction and errors of every task."""

    def write(path: Path, result: SceneResult) -> None:
        image_files.write_image(path, task_panels.picture(dataset, result))

    return Output(image_outputs.under_names(dataset, folder), write)


def maps(dataset: Dataset, folder: Path, task: Task) -> Output[SceneResult]:
    """Return the output of the predicted maps of a task.

    They are 8-bit PNG of class indices, or 16-bit PNG of metres times 256.
    """

    def write(path: Path, result: SceneResult) -> None:
        values = result.predictions[task.name]
        if task.kind == CLASSES:
            image_files.write_image(path, values)
        else:
            depth_files.write(path, values)

    return Output(image_outputs.under_names(dataset, folder / task.name), write)


def submission(dataset: Dataset, folder: Path) -> Output[SceneResult]:
    """Return the output of the files that the test server requires, those of the segmentation.

    Raises:
        UserError: There is no such task, or the data set has no test server.
    """
    names = [task.name for task in dataset.tasks]
    if SEGMENTATION not in names:
        raise UserError(
            f'--format-only: test servers take the task {SEGMENTATION}, and the network has '
            f'{", ".join(names)}'
        )
    output = image_outputs.submission(dataset.of_task(SEGMENTATION), folder)
    return Output(
        output.target, lambda path, result: output.write(path, result.of_task(SEGMENTATION))
    )
