"""What srun's variables mean for torch."""

import pytest

from instance_segmentation.training.slurm import torch_variables


def step(**changes):
    """Task 5 of 8 on two machines."""
    return dict(SLURM_PROCID="5", SLURM_STEP_NUM_TASKS="8", SLURM_LOCALID="1", SLURM_NODEID="1",
                SLURM_STEP_TASKS_PER_NODE="4(x2)", SLURM_STEP_NODELIST="gpu[03-04]", SLURM_JOB_ID="4711",
                SLURM_STEP_ID="0") | changes


def test_a_task_knows_its_place():
    found = torch_variables(step())
    assert {name: found[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")} == dict(
        RANK="5", WORLD_SIZE="8", LOCAL_RANK="1", LOCAL_WORLD_SIZE="4", MASTER_ADDR="gpu03")


@pytest.mark.parametrize("hosts, first", [
    ("node1", "node1"), ("gpu[03-05,07],login1", "gpu03"), ("a1,a[2-3]", "a1"), ("rack[1-2]n[3-4]", "rack1n3"),
    ("n[7]-ib", "n7-ib")])
def test_the_first_machine_of_a_list(hosts, first):
    assert torch_variables(step(SLURM_STEP_NODELIST=hosts))["MASTER_ADDR"] == first


@pytest.mark.parametrize("node, tasks", [(0, "4"), (1, "4"), (2, "3")])
def test_machines_may_have_different_numbers_of_tasks(node, tasks):
    assert torch_variables(step(SLURM_STEP_TASKS_PER_NODE="4(x2),3", SLURM_NODEID=str(node)))["LOCAL_WORLD_SIZE"] == tasks


def test_two_jobs_and_two_steps_of_one_job_meet_at_different_ports():
    ports = [torch_variables(step(**changes))["MASTER_PORT"]
             for changes in ({}, dict(SLURM_JOB_ID="4712"), dict(SLURM_STEP_ID="1"))]
    assert len(set(ports)) == 3 and all(1024 < int(port) < 32768 for port in ports)


def test_an_address_that_was_set_stays():
    found = torch_variables(step(MASTER_ADDR="10.0.0.1", MASTER_PORT="4242"))
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("10.0.0.1", "4242")
