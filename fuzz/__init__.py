"""Feed damaged and hostile files to every reader of the project (make fuzz, python -m fuzz).

    make fuzz N=20000                   # so many inputs over all readers; 5000 by default
    python -m fuzz --readers png h5     # only these; --help lists them
    python -m fuzz --replay results/fuzz/000123-png

An input is a valid file, made by seeded code, with some damage: flipped bits, cuts, insertions,
changed counts, or a change that knows the format, such as a PNG chunk with a new checksum. A child
process reads it under limits of time and memory. The parent has imported everything before it
forks, so an input takes milliseconds. An input passes if it is read, or refused in one line that
names the file. Everything else is a failure:

    traceback     an exception other than ``UserError``
    hang          no end within the limit of time
    signal        the process died
    memory        more memory than the declared size and the allowance, or ``MemoryError``
    changed       read, with other content than before the damage, though checksums cover it
    raw output    lines of libraries on standard output or standard error
    message       more than one line, control characters, or no name of the file

The inputs of a reader depend on the random seed only: they are the same in every run, with any
number of jobs and with any other readers. The folder of results holds report.json and a folder
for each failing input.

    inputs      what an input consists of, and how it is made from its number
    readers     the readers, with valid files for each
    mutators    the kinds of damage
    child       reads inputs in a child process and judges the result
    pool        runs the children, and finds those that hang or die
    report      the table, report.json, the failing inputs
"""
