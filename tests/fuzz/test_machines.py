"""The short form of the state machines of `make fuzz`."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from outbox_machine import OutboxMachine
from resume_machine import ResumeMachine
from store_machine import StoreMachine

MACHINES = (StoreMachine, OutboxMachine, ResumeMachine)


@pytest.mark.parametrize("machine", MACHINES, ids=[one.__name__ for one in MACHINES])
@pytest.mark.parametrize("examples", [6, pytest.param(150, marks=pytest.mark.slow)])
def test_any_order_of_changes_damage_and_kills_is_survived(
    machine: type[RuleBasedStateMachine], examples: int
) -> None:
    # The same orders each time: `make fuzz` looks for new ones.
    steps = 12 if examples < 100 else 8
    drawn = settings(
        max_examples=examples, stateful_step_count=steps, derandomize=True, database=None
    )
    run_state_machine_as_test(machine, settings=drawn)


@pytest.mark.parametrize("at", range(4))
def test_a_run_that_was_deleted_before_its_answer_came_is_there_once(at: int) -> None:
    """Found by `make fuzz`: it was created a second time, and both were there once restored."""
    state = OutboxMachine()
    state.begin()
    ((local_id, said),) = state.runs.items()
    assert said.journal is not None
    said.journal.close()
    said.journal = None
    state.send(how="loses an answer", at=at)
    for run in state.on_store(local_id):
        state.connection.client.delete_run(run.info.run_id)
    state.send(how="answers", at=0)
    assert len(state.on_store(local_id)) == 1
    state.teardown()
