"""What srun says about the processes that it started, in the variables that torchrun sets and torch reads."""

import re


def torch_variables(environ):
    """RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT of this task of a job step.

    The port follows from the job and the step, so that two jobs on one machine do not meet at the same; MASTER_ADDR and
    MASTER_PORT that are set already stay.

    Args:
        environ: The variables of a process that srun started.
    """
    return dict(
        RANK=environ["SLURM_PROCID"], WORLD_SIZE=environ["SLURM_STEP_NUM_TASKS"], LOCAL_RANK=environ.get("SLURM_LOCALID", "0"),
        LOCAL_WORLD_SIZE=str(_tasks_here(environ)), MASTER_ADDR=environ.get("MASTER_ADDR") or _first_host(environ),
        MASTER_PORT=environ.get("MASTER_PORT") or str(_port(environ)))


def _tasks_here(environ):
    """Number of this step's tasks on this machine; srun writes `4(x2),3` for machines with 4, 4 and 3."""
    text = environ.get("SLURM_STEP_TASKS_PER_NODE", environ["SLURM_STEP_NUM_TASKS"])
    parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    tasks = [int(number) for number, times in parts for _ in range(int(times or 1))]
    return tasks[int(environ.get("SLURM_NODEID", "0"))]


def _first_host(environ):
    """The machine of task 0: the first of a list such as `gpu[03-05,07],login1`."""
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_NODELIST") or "localhost"
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", hosts).split(",")[0]


def _port(environ):
    """A port below those that the kernel hands out (32768 and up), another for each job and step."""
    return 10000 + (int(environ.get("SLURM_JOB_ID", "0")) * 31 + int(environ.get("SLURM_STEP_ID", "0"))) % 20000
