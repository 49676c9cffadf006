"""Learning rates as pure functions of the iteration."""


def poly(iteration: int, *, lr: float, min_lr: float, max_iter: int, power: float) -> float:
    """Polynomial decay from ``lr`` at iteration 0 towards ``min_lr``, which it reaches at
    ``max_iter``.

    Source: sony/ai-research-code, commit cfe96dfeef567eaaaffe0045b5bcab9ca7fb9e00,
    d3net/semantic-segmentation/lr_scheduler.py.
    """
    return min_lr + (lr - min_lr) * (1 - iteration / max_iter) ** power
