"""Ways to break the promise of docs/guarantees.md, each with the tests that must notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One change of one place, and who must turn red.

    Args:
        name: what is taken away.
        file: where; a path from the top.
        before: the text that gives way; it stands there once.
        after: what stands there instead.
        test: the test that must fail, as pytest names it.

    """

    name: str
    file: str
    before: str
    after: str
    test: str


_INTEGRATION = "tests/integration"

MUTANTS = (
    Mutant(
        "no fence",
        "services/fence.py",
        "AND attempt = %(attempt)s\n",
        "AND %(attempt)s = %(attempt)s\n",
        f"{_INTEGRATION}/test_recording.py"
        "::test_the_fence_stops_an_attempt_that_does_not_own_the_job",
    ),
    Mutant(
        "no rewind",
        "services/rewinding.py",
        "    return rewind(connection, job_key, attempt, resumed.iteration, resumed.epochs)\n",
        "    return ()\n",
        f"{_INTEGRATION}/test_supervisor_resuming.py"
        "::test_the_next_attempt_goes_on_from_the_checkpoint_that_is_booked",
    ),
    Mutant(
        "rollups outlive a rewind",
        "services/rewinding.py",
        "    rewind_rollups(connection, job_key, to_iteration)\n",
        "",
        "tests/property/test_rollups_property.py::test_rollups_are_the_aggregates_of_their_rows",
    ),
    Mutant(
        "metrics outlive a rewind",
        "services/rewinding.py",
        "    take_back(connection, job_key, beyond)\n",
        "",
        "tests/property/test_metrics_property.py::test_values_are_there_once_and_add_up",
    ),
    Mutant(
        "an epoch's metric outlives its epoch",
        "services/metric_series.py",
        "func.least(ends, to_iteration)",
        "to_iteration",
        f"{_INTEGRATION}/test_metric_series.py"
        "::test_an_epochs_metric_goes_with_an_epoch_that_is_measured_anew",
    ),
    Mutant(
        "metrics are taken before their rows",
        "worker/listening.py",
        "            while end and self._deliveries[end - 1].kind is Kind.METRICS:\n",
        "            while False and self._deliveries[end - 1].kind is Kind.METRICS:\n",
        f"{_INTEGRATION}/test_supervisor_metrics.py"
        "::test_values_whose_row_is_late_are_not_booked_before_it",
    ),
    Mutant(
        "a checkpoint registered before its rows",
        "worker/training/loop.py",
        "        self._recorder.deliver(state)\n        self._pulse.enter(Phase.SAVE",
        "        self._pulse.enter(Phase.SAVE",
        f"{_INTEGRATION}/test_training_resuming.py"
        "::test_a_checkpoint_is_told_after_the_rows_up_to_it",
    ),
    Mutant(
        "a checkpoint before its rows is booked all the same",
        "services/recording.py",
        "    if newest > last:\n",
        "    if newest > last and newest < 0:\n",
        f"{_INTEGRATION}/test_recording.py::test_a_checkpoint_is_not_booked_before_its_rows",
    ),
    Mutant(
        "no grace after an outage, for who lost sight of the database",
        "worker/reaper.py",
        "        if self._touch.seconds < self._lease_seconds:\n            return\n",
        "",
        f"{_INTEGRATION}/test_reaping.py"
        "::test_who_has_lost_sight_of_the_database_reaps_only_after_a_lease",
    ),
    Mutant(
        "no grace after an outage, for a server that has just started",
        "services/reaping.py",
        "func.pg_postmaster_start_time() < func.clock_timestamp() - lease",
        "func.pg_postmaster_start_time() < func.clock_timestamp()",
        f"{_INTEGRATION}/test_reaping.py"
        "::test_nothing_is_found_within_a_lease_of_the_servers_start",
    ),
    Mutant(
        "event ids of a job not in the order of commits",
        "services/lifecycle.py",
        """        update(progress)
        .where(progress.c.job_key == job_key)
        .values(last_event=progress.c.last_event + len(happenings))
        .returning(progress.c.last_event)
""",
        """        select(func.nextval(func.pg_get_serial_sequence("jobs", "key")) + 99)
""",
        f"{_INTEGRATION}/test_recording.py"
        "::test_the_ids_of_a_jobs_events_are_in_the_order_of_commits",
    ),
    Mutant(
        "events of all jobs shown before older transactions have ended",
        "services/project_events.py",
        "    oldest = find_horizon(connection).oldest\n    found:",
        "    oldest = find_horizon(connection).next\n    found:",
        f"{_INTEGRATION}/test_api_book.py::test_an_event_waits_for_the_transactions_before_it",
    ),
    Mutant(
        "a live stream past transactions that still run",
        "services/project_events.py",
        "CAST(pg_snapshot_xmin(now) AS text) AS oldest",
        "CAST(pg_snapshot_xmax(now) AS text) AS oldest",
        f"{_INTEGRATION}/test_live_projects.py"
        "::test_writers_that_commit_in_the_opposite_order_leave_no_gap_and_no_repeat",
    ),
    Mutant(
        "a viewer keeps points that a rewind took back",
        "services/following.py",
        "iteration = min(self.iteration, kept) if",
        "iteration = max(self.iteration, kept) if",
        f"{_INTEGRATION}/test_live_jobs.py::test_a_rewind_tells_a_viewer_what_to_drop",
    ),
    Mutant(
        "a hint that is lost is never made up for",
        "api/lookout.py",
        "LOOK_SECONDS = 2.0\n",
        "LOOK_SECONDS = 600.0\n",
        f"{_INTEGRATION}/test_live_hints.py::test_what_no_hint_tells_of_a_look_brings",
    ),
    Mutant(
        "a ticket lost for good",
        "services/reconciling.py",
        "        if waiting and crew.free:\n",
        "        if waiting and crew.free < 0:\n",
        f"{_INTEGRATION}/test_worker.py::test_a_job_whose_ticket_was_lost_runs_all_the_same",
    ),
    Mutant(
        "a lost answer to a commit taken for a failure",
        "worker/scribe.py",
        "                    if self._is_committed(unsettled):\n",
        "                    if False and self._is_committed(unsettled):\n",
        f"{_INTEGRATION}/test_supervisor_outages.py"
        "::test_a_commit_whose_answer_is_lost_is_not_made_twice",
    ),
    Mutant(
        "a stopped worker keeps its rows",
        "services/reaping.py",
        "SELECT pg_terminate_backend(activity.pid) FROM",
        "SELECT false FROM",
        f"{_INTEGRATION}/test_reaping.py"
        "::test_a_worker_that_was_stopped_in_a_copy_is_freed_from_its_session",
    ),
    Mutant(
        "a spoilt checkpoint is loaded",
        "worker/training/checkpoint.py",
        "    if hashlib.sha256(content).hexdigest() != checkpoint.sha256:\n",
        "    if len(hashlib.sha256(content).hexdigest()) != len(checkpoint.sha256):\n",
        f"{_INTEGRATION}/test_training_resuming.py"
        "::test_a_checkpoint_that_is_not_the_booked_file_is_refused",
    ),
    Mutant(
        "rows are removed before their file is booked",
        "services/archiving.py",
        "            jobs.c.archived_at.is_not(None),\n            archives.c.removed_to <",
        "            archives.c.removed_to <",
        f"{_INTEGRATION}/test_archiving.py::test_a_store_that_refuses_is_asked_again",
    ),
    Mutant(
        "rows that no file has are removed",
        "services/archiving.py",
        "    return [table for table in ARCHIVED if table.file_name in names]\n",
        "    return list(ARCHIVED)\n",
        f"{_INTEGRATION}/test_api_archived.py"
        "::test_readings_of_a_job_whose_rows_alone_were_archived_stay_and_are_read",
    ),
    Mutant(
        "a file of rows is not read back",
        "worker/filing.py",
        "            self._check(uri, written, content)\n",
        "",
        f"{_INTEGRATION}/test_archiving_readings.py"
        "::test_a_store_that_does_not_keep_what_it_was_given_costs_no_rows",
    ),
    Mutant(
        "a job is archived by a wish that a retry took back",
        "services/archiving.py",
        "    return connection.scalar(stands) is not None\n",
        "    return True\n",
        f"{_INTEGRATION}/test_archiving.py"
        "::test_a_retry_takes_back_a_wish_and_after_the_booking_it_is_refused",
    ),
    Mutant(
        "a deleted job's rows stay",
        "migrations/sql/0004_leftovers.sql",
        "    FROM gone, unnest('{attempts,epochs,events,iterations,",
        "    FROM gone, unnest('{attempts,epochs,iterations,",
        f"{_INTEGRATION}/test_api_jobs_deleting.py"
        "::test_all_that_belongs_to_the_job_goes_and_nothing_else",
    ),
    Mutant(
        "who sweeps waits for another",
        "services/remains.py",
        "        .with_for_update(skip_locked=True)\n",
        "        .with_for_update()\n",
        f"{_INTEGRATION}/test_api_jobs_deleting.py"
        "::test_two_who_sweep_never_wait_for_each_other_nor_does_who_writes",
    ),
    Mutant(
        "random states are not put back",
        "worker/training/checkpoint.py",
        '    restore_random_states(kept["random"], device)\n',
        "",
        f"{_INTEGRATION}/test_training_resuming.py"
        "::test_a_training_that_was_cut_off_goes_on_to_the_same_bits",
    ),
    Mutant(
        "code off the list is called",
        "worker/training/entrypoints.py",
        "    if package not in packages:\n",
        "    if not packages and not package:\n",
        "tests/unit/test_training_own_code.py::test_a_package_off_the_list_is_not_even_imported",
    ),
    Mutant(
        "a worker takes a job whose code it does not offer",
        "services/claims.py",
        "        names_only(packages),\n",
        "",
        f"{_INTEGRATION}/test_api_own_code.py"
        "::test_only_a_worker_that_offers_the_code_takes_the_job",
    ),
    Mutant(
        "a program's random states are not put back",
        "worker/program/ledger.py",
        '        restore_random_states(kept["random"], self.device)\n',
        "",
        "tests/unit/test_programs.py"
        "::test_what_was_paused_at_a_checkpoint_goes_on_to_the_same_bits",
    ),
    Mutant(
        "a program that goes on says that it starts anew",
        "worker/program/ledger.py",
        "Resumed(state.iteration, state.epoch - 1, not state.mixed)",
        "Resumed(0, 0, not state.mixed)",
        f"{_INTEGRATION}/test_hostile_programs.py"
        "::test_one_that_was_killed_goes_on_from_its_checkpoint_with_every_row_once",
    ),
)
