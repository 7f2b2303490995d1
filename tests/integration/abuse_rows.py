"""The catalogue of abuses: each row that is a test, and where it is.

R is what a cell can use up, S what it can do to its own worker and its protocol, F what
it can do by files, C what a checkpoint must not carry or lose.  E and P, what it can read, reach and become, are the names of the
tests in test_sandbox_walls.py.  test_abuse_rows.py checks that all of them are there.
"""

RESOURCES, PROTOCOL, FILES = "test_abuse_resources.py", "test_abuse_protocol.py", "test_abuse_files.py"
LIMITS, HOSTILE, PROCESSES = "test_limits.py", "test_hostile_worker.py", "test_processes.py"
EXECUTE, WALLS = "test_execute.py", "test_sandbox_walls.py"
CRASH, CHECKPOINTS, LIBRARIES = "test_crash.py", "test_checkpoints.py", "test_libraries.py"
BUSY = "test_busy.py"

ROWS = {
    "R1": [(RESOURCES, "test_fork_bomb"), (LIMITS, "test_a_fork_bomb_stays_at_the_limit")],
    "R2": [(RESOURCES, "test_thread_bomb")],
    "R3": [(RESOURCES, "test_memory"), (LIMITS, "test_memory_kills_the_cell_and_the_state_comes_back"),
           (LIMITS, "test_the_watchdog_where_no_cgroup_is_ours"),
           (LIMITS, "test_memory_of_a_child_process_is_told")],
    "R4": [(RESOURCES, "test_slow_growth")],
    "R5": [(RESOURCES, "test_full_disk"), (FILES, "test_a_layer_full_of_traps")],
    "R6": [(RESOURCES, "test_output_flood"), (RESOURCES, "test_gateway_memory_under_floods"),
           (LIMITS, "test_output_is_cut_once_and_the_cell_goes_on"),
           (LIMITS, "test_displays_count_to_the_output"), (LIMITS, "test_a_flood_can_be_interrupted"),
           ("test_iopub.py", "test_subscriber_that_never_reads")],
    "R7": [(RESOURCES, "test_memory")],
    "R8": [(RESOURCES, "test_endless"), (LIMITS, "test_a_cell_is_interrupted_when_its_time_is_over")],
    "R9": [(RESOURCES, "test_endless"), (LIMITS, "test_a_cell_that_does_not_heed_it_is_killed")],
    "R10": [(RESOURCES, "test_daemon"), (PROCESSES, "test_gone_after_shutdown"),
            (PROCESSES, "test_gone_after_crashes"), (WALLS, "test_nothing_is_left")],
    "R11": [(PROCESSES, "test_gone_after_the_gateway_was_killed"),
            (PROCESSES, "test_gone_after_the_gateway_was_killed_while_busy"),
            (LIMITS, "test_cgroups_and_processes_go_when_the_gateway_is_killed"),
            (LIMITS, "test_the_next_start_sweeps_what_was_left")],
    "R12": [(RESOURCES, "test_start_and_stop"), (RESOURCES, "test_a_hundred_at_once"),
            (RESOURCES, "test_start_and_stop_for_long"),
            (PROCESSES, "test_twenty_kernels_at_the_same_moment"), (HOSTILE, "test_many_deaths_cost_nothing")],
    "R13": [(RESOURCES, "test_descriptors"), (PROTOCOL, "test_breach"),
            (HOSTILE, "test_descriptors_that_nobody_asked_for"),
            (HOSTILE, "test_descriptors_that_wait_when_they_are_closed")],
    "R14": [(RESOURCES, "test_quotas"), (RESOURCES, "test_memory")],
    "S1": [(PROTOCOL, "test_protocol_bytes_as_text")],
    "S2": [(PROTOCOL, "test_sabotage")],
    "S3": [(PROTOCOL, "test_forged"), (PROTOCOL, "test_output_in_the_name_of_others"), (HOSTILE, "test_death"),
           (HOSTILE, "test_two_replies"), (HOSTILE, "test_checkpoint_lie")],
    "S4": [(PROTOCOL, "test_breach"), (HOSTILE, "test_death"), (HOSTILE, "test_shutdown_while_a_cell_runs"),
           (HOSTILE, "test_death_without_a_checkpoint")],
    "S5": [(PROTOCOL, "test_questions_that_nobody_answers"), ("test_stdin.py", "test_allow_stdin_false")],
    "S6": [(PROTOCOL, "test_odd_exception"), (EXECUTE, "test_system_exit"), (EXECUTE, "test_repr_that_raises"),
           (EXECUTE, "test_exception_that_cannot_be_shown"), (EXECUTE, "test_unicode"),
           (EXECUTE, "test_lone_surrogate_in_the_output"), (EXECUTE, "test_recursion_error")],
    "S7": [(PROTOCOL, "test_signals_that_a_cell_leaves"),
           ("test_crash.py", "test_killed_from_outside_while_idle")],
    "S8": [(PROTOCOL, "test_markup_is_data")],
    "F1": [(FILES, "test_a_layer_full_of_traps"), (FILES, "test_a_layer_that_changes_meanwhile")],
    "F2": [(FILES, "test_a_layer_full_of_traps")],
    "F3": [(FILES, "test_a_layer_full_of_traps")],
    "C1": [(CRASH, "test_two_resumes_draw_different_numbers"),
           (CRASH, "test_two_kernels_draw_different_numbers"),
           (CRASH, "test_a_seed_that_the_user_set_goes_on")],
    "C2": [(LIBRARIES, "test_small"), (CHECKPOINTS, "test_tasks_input_and_files")],
    "C3": [(CHECKPOINTS, "test_rollback"), (CHECKPOINTS, "test_tasks_input_and_files")],
    "C4": [(CHECKPOINTS, "test_a_secret_of_a_later_cell_is_gone")],
    "C5": [(CRASH, "test_crash"), (CRASH, "test_stack_overflow_in_c"),
           (LIMITS, "test_memory_kills_the_cell_and_the_state_comes_back")],
    "C6": [(CHECKPOINTS, "test_a_thousand")],
    "C7": [(CHECKPOINTS, "test_what_a_copy_does_not_do_again")],
    "C8": [(CHECKPOINTS, "test_what_a_copy_does_not_do_again")],
    "C9": [(BUSY, "test_answers"), (BUSY, "test_side_effects_reach_nobody")],
    "C10": [(CHECKPOINTS, "test_faults"), (CHECKPOINTS, "test_interrupts_at_any_point"),
            (HOSTILE, "test_checkpoint_lie"), (HOSTILE, "test_rollback_to_a_lie")],
}
