"""What a gateway delivers, shown by a fleet of simulated devices.

DEVICE_SIM is the program, SCENARIO what it plays; addresses come from the variables of the scenario.
"""

import json
import os
import subprocess

import pytest

DEVICE_SIM = os.environ.get("DEVICE_SIM", "device-sim")
SCENARIO = os.environ.get("SCENARIO", "device-sim/scenarios/smoke.toml")


@pytest.fixture(scope="session")
def report():
    """What became of every reading of one run."""
    command = [DEVICE_SIM, "run", SCENARIO, "--json"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    # 0: every threshold was kept. 99: one was missed. All else is no verdict on the gateway.
    assert run.returncode in (0, 99), run.stderr
    return json.loads(run.stdout)


def test_every_threshold_is_kept(report):
    missed = [outcome for outcome in report["outcomes"] if not outcome["passed"]]
    assert not missed, report["examples"]


def test_every_fleet_is_delivered(report):
    for name, fleet in report["fleets"].items():
        assert fleet["sent"] > 0, name
        assert fleet["lost"] == fleet["wrong_value"] == fleet["duplicates"] == 0, name


def test_half_of_the_readings_take_less_than_a_second(report):
    quiet = next(phase for phase in report["phases"] if phase["name"] == "quiet")
    assert quiet["latency"]["p50_us"] < 1_000_000
