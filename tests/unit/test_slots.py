"""Slots: what a process holds is known to its main process, also when it is dead, and never told of another."""

import dataclasses
import os
import threading
from contextlib import ExitStack
from uuid import UUID, uuid4

import pytest

from eventbus.lifecycle.slots import CAPACITY, Account, Slot, Slots, Status
from tests.support.forks import Fork


@pytest.fixture
def slots() -> Slots:
    """The table of a worker."""
    return Slots()


@pytest.fixture
def ids() -> list[UUID]:
    """Three events."""
    return [uuid4() for _ in range(3)]


def only(slots: Slots) -> Account:
    """The account of the only slot that is taken."""
    [account] = slots.list_accounts()
    return account


def number_of(slot: Slot, slots: Slots) -> int:
    """Which slot it is: the one whose claim changes with it."""
    slot.expect("a", 4711)
    [found] = [account.slot for account in slots.list_accounts() if account.claim == 4711]
    slot.clear()
    return found


def hold_and_wait(slots: Slots, ids: list[UUID], fork: Fork) -> None:
    """In a child: take a slot, hold rows, and wait."""
    slot = slots.take()
    slot.expect("a", 7)
    slot.hold(ids)
    slot.set(0, Status.STARTED)
    fork.report("holds")
    fork.wait()


def test_a_slot_says_what_its_process_holds(slots: Slots, ids: list[UUID]) -> None:
    """Its claim before anybody can hold a row, then the rows, then how each of them stands."""
    slot = slots.take()

    said = [only(slots)]
    slot.expect("inventory", 2**63 - 1)
    said.append(only(slots))
    slot.hold(ids)
    said.append(only(slots))
    slot.set(0, Status.SETTLED)
    slot.set(1, Status.STARTED)
    said.append(only(slots))
    slot.clear()
    said.append(only(slots))

    rows = [list(account.rows) for account in said]
    assert [(account.claim, account.group) for account in said] == [
        (0, ""),
        *[(2**63 - 1, "inventory")] * 3,
        (0, ""),
    ]
    assert rows[0] == rows[1] == rows[4] == []
    assert rows[2] == [(id, Status.CLAIMED) for id in ids]
    assert rows[3] == list(zip(ids, (Status.SETTLED, Status.STARTED, Status.CLAIMED), strict=True))
    assert said[3].ids(Status.STARTED, Status.CLAIMED) == ids[1:]
    assert {account.pid for account in said} == {os.getpid()}


def test_a_slot_has_room_for_the_largest_claim(slots: Slots) -> None:
    """And for the longest name of a group."""
    many = [uuid4() for _ in range(CAPACITY)]
    slot = slots.take()

    slot.expect("g" * 63, 7)
    slot.hold(many)

    assert only(slots).ids(Status.CLAIMED) == many
    assert only(slots).group == "g" * 63


def test_a_new_claim_starts_without_the_rows_and_the_error_of_the_last(slots: Slots, ids: list[UUID]) -> None:
    """What was settled under one fence is never settled under another."""
    slot = slots.take()
    slot.expect("long-name", 7)
    slot.hold(ids)
    slot.fail(0, "ValueError: no")

    slot.expect("a", 8)

    assert (only(slots).claim, only(slots).group, only(slots).rows, only(slots).error) == (8, "a", [], "")


def test_a_row_that_is_not_written_yet_is_passed_over(slots: Slots, ids: list[UUID]) -> None:
    """Who reads while a process writes takes nothing for a row that is none."""
    slot = slots.take()
    slot.expect("a", 7)
    slot.hold(ids)

    slot.set(1, 0)  # type: ignore[arg-type]

    assert only(slots).ids(Status.CLAIMED) == [ids[0], ids[2]]


@pytest.mark.parametrize(
    ("error", "read"),
    [
        ("KeyError: 'sku'", "KeyError: 'sku'"),
        ("x" * 5000, "x" * 1024),
        ("x" + "ü" * 5000, "x" + "ü" * 511 + "\N{REPLACEMENT CHARACTER}"),
    ],
    ids=["short", "long", "torn"],
)
def test_a_failure_is_noted_with_its_error(error: str, read: str, slots: Slots, ids: list[UUID]) -> None:
    """As much of it as there is room for, and never into the rows behind it."""
    slot = slots.take()
    slot.expect("a", 7)
    slot.hold(ids)

    slot.fail(1, error)

    account = only(slots)
    assert account.error == read
    assert list(account.rows) == list(zip(ids, (Status.CLAIMED, Status.FAILED, Status.CLAIMED), strict=True))


def test_a_slot_that_is_put_back_is_taken_again(slots: Slots, ids: list[UUID]) -> None:
    """A process needs as many as it has threads, however many slices it runs; what was put back holds nothing."""
    first, second = slots.take(), slots.take()
    first.expect("a", 7)
    first.hold(ids)

    slots.put_back(first)
    third = slots.take()

    assert third is first
    assert third is not second
    assert [(account.claim, account.rows) for account in slots.list_accounts()] == [(0, []), (0, [])]


def test_a_child_never_takes_what_its_parent_has(slots: Slots) -> None:
    """Not even what the parent had put back: two processes in one slot would settle each other's rows."""
    slots.put_back(slots.take())

    def child(fork: Fork) -> None:
        fork.report(str(number_of(slots.take(), slots)))
        fork.wait()

    with Fork(child) as forked:
        taken = int(forked.hear())
        own = number_of(slots.take(), slots)
        pids = {account.slot: account.pid for account in slots.list_accounts()}

    assert taken != own
    assert pids == {own: os.getpid(), taken: forked.pid}


def test_a_fork_while_a_thread_takes_a_slot_leaves_a_child_that_can(slots: Slots) -> None:
    """A lock that is held at the fork would be held in the child for ever."""
    with slots._lock, slots._suspect_lock, Fork(lambda fork: fork.report(str(bool(slots.take())))) as forked:
        assert forked.hear() == "True"


def test_processes_that_take_at_once_take_different_slots(slots: Slots) -> None:
    """Eight children, eight slots."""

    def child(fork: Fork) -> None:
        fork.wait()
        slots.take()
        fork.report("took")
        fork.wait()

    with ExitStack() as stack:
        forks = [stack.enter_context(Fork(child)) for _ in range(8)]
        for forked in forks:
            forked.go_on()
        for forked in forks:
            forked.hear()
        accounts = slots.list_accounts()

    assert sorted(account.pid for account in accounts) == sorted(forked.pid for forked in forks)


def test_threads_that_take_at_once_take_different_slots(restless: None, slots: Slots) -> None:
    """The kernel keeps only processes apart: two slices in one slot would settle each other's rows."""
    taken: list[Slot] = []
    barrier = threading.Barrier(8)

    def take() -> None:
        barrier.wait()
        taken.extend(slots.take() for _ in range(50))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(taken) == 400
    assert len(slots.list_accounts()) == 400


def test_a_killed_process_is_found_dead_at_once(slots: Slots, ids: list[UUID]) -> None:
    """Also while nobody has reaped it; before that it is not, and its parent never is."""
    slots.take()

    with Fork(lambda fork: hold_and_wait(slots, ids, fork)) as forked:
        forked.hear()
        own, account = slots.list_accounts()
        before = slots.is_dead(account)
        again = slots.is_dead(account)
        forked.kill()
        after = slots.is_dead(account)
        once_more = slots.is_dead(account)

    assert account.pid == forked.pid
    assert (before, again, after, once_more) == (False, False, True, True)
    assert not slots.is_dead(own)
    assert only_of(slots, forked.pid).rows == account.rows


def only_of(slots: Slots, pid: int) -> Account:
    """The account of a process."""
    [account] = [account for account in slots.list_accounts() if account.pid == pid]
    return account


def test_a_dead_process_is_not_taken_for_a_living_one_of_its_number(slots: Slots, ids: list[UUID]) -> None:
    """Numbers are used again, after a reboot of a container very soon."""
    with Fork(lambda fork: hold_and_wait(slots, ids, fork)) as forked:
        forked.hear()
        forked.kill()
    reused = dataclasses.replace(only(slots), pid=os.getppid())

    assert slots.is_dead(reused)


def test_a_living_process_is_not_dead_to_its_siblings(slots: Slots, ids: list[UUID]) -> None:
    """Whoever asks, the answer is the kernel's."""

    def ask(fork: Fork) -> None:
        account = only_of(slots, holder.pid)
        fork.report(str(slots.is_dead(account)))
        fork.wait()
        fork.report(str(slots.is_dead(account)))

    with Fork(lambda fork: hold_and_wait(slots, ids, fork)) as holder:
        holder.hear()
        with Fork(ask) as asking:
            before = asking.hear()
            holder.kill()
            asking.go_on()
            after = asking.hear()

    assert (before, after) == ("False", "True")


def test_a_dead_processs_slot_is_kept_until_it_is_settled(slots: Slots, ids: list[UUID]) -> None:
    """Nobody writes over what is not accounted for; then it is free for the next."""
    with Fork(lambda fork: hold_and_wait(slots, ids, fork)) as forked:
        forked.hear()
    dead = only(slots)

    def child(fork: Fork) -> None:
        fork.report(str(number_of(slots.take(), slots)))

    found_dead = slots.is_dead(dead)
    with Fork(child) as second:
        kept = int(second.hear())
    slots.release(dead)
    with Fork(child) as third:
        reused = int(third.hear())

    assert found_dead
    assert kept != dead.slot
    assert reused == dead.slot


def test_a_slot_that_was_freed_since_it_was_read_says_what_it_said(slots: Slots, ids: list[UUID]) -> None:
    """A worker that ends may settle an account twice; who is second finds nothing that its claim still holds."""
    with Fork(lambda fork: hold_and_wait(slots, ids, fork)) as forked:
        forked.hear()
    dead = only(slots)

    slots.release(dead)

    assert slots.reread(dead) == dead


def test_a_worker_has_so_many_slots_and_says_when_they_are_taken(slots: Slots) -> None:
    """What an operator can do about it is in the message."""
    for _ in range(512):
        slots.take()

    with pytest.raises(RuntimeError, match="all 512 slots of this worker are taken: start more workers"):
        slots.take()


def test_all_processes_hear_that_the_worker_stops(slots: Slots) -> None:
    """Whoever says it."""

    def child(fork: Fork) -> None:
        fork.report(str(slots.is_stopping))
        fork.wait()
        fork.report(str(slots.is_stopping))

    with Fork(child) as forked:
        before = forked.hear()
        slots.stop()
        forked.go_on()
        after = forked.hear()

    assert (before, after) == ("False", "True")


def test_one_process_at_a_time_may_run_a_suspect(slots: Slots) -> None:
    """The others go without; one that is killed with it leaves it to them."""

    def child(fork: Fork) -> None:
        fork.report(str(slots.begin_suspect()))
        fork.wait()

    with Fork(child) as first:
        took = first.hear()
        with Fork(child) as second:
            refused = second.hear()
        own = slots.begin_suspect()
        first.kill()
        inherited = slots.begin_suspect()

    assert (took, refused, own, inherited) == ("True", "False", False, True)


def test_one_thread_of_a_process_at_a_time_may_run_a_suspect(slots: Slots) -> None:
    """The kernel would give a process's threads its lock as often as they ask."""
    answers: list[bool] = []
    first = slots.begin_suspect()

    thread = threading.Thread(target=lambda: answers.append(slots.begin_suspect()))
    thread.start()
    thread.join()
    slots.end_suspect()

    assert first
    assert answers == [False]
    assert slots.begin_suspect()


def test_the_right_to_run_a_suspect_passes_on(slots: Slots) -> None:
    """When its holder gives it back, another process has it, and this one not."""

    def child(fork: Fork) -> None:
        fork.report(str(slots.begin_suspect()))
        fork.wait()
        slots.end_suspect()
        fork.report("gave back")
        fork.wait()

    slots.begin_suspect()
    slots.end_suspect()
    with Fork(child) as forked:
        passed_on = forked.hear()
        refused = slots.begin_suspect()
        forked.go_on()
        forked.hear()
        returned = slots.begin_suspect()

    assert (passed_on, refused, returned) == ("True", False, True)
