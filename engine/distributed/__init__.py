"""Several processes: the job that mpirun started, gradients summed over it, hangs noticed."""
