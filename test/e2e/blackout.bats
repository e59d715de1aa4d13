#!/usr/bin/env bats
# blackout.bats - kill -9 of all masters and all borglets at once; tasks are not affected.
load lib.bash

setup_file()
{
    cell_up --replicas 5 --borglets 3
}

teardown_file()
{
    cell_away
}

# Print the state of the jobs, without columns that change over time.
jobs_now()
{
    borgctl -o json jobs | jq -cS '[.[] | {job, user, priority, state, replicas, running}]
        | sort_by(.job)'
}

@test "jobs run" {
    wait_until 20 replicas_agree 5
    submit web 200 4 50m 'while :; do echo tick; sleep 0.2; done'
    submit crunch 100 3 50m 'exec sleep 1000'
    submit huge 50 1 100 'exit 0'
    wait_until 20 job_runs web 4
    wait_until 20 job_runs crunch 3
    running_tasks >"$SPECS/before"
    wait_until 10 replicas_agree 5
    jobs_now >"$SPECS/jobs"
    same "tasks" 7 "$(wc -l <"$SPECS/before")"
}

@test "all programs of the cell are killed at once" {
    local pids
    pids="$(pids_of_programs)"
    (($(wc -w <<<"$pids") >= 8))
    # shellcheck disable=SC2086 # split into words
    kill -KILL $pids
    for pid in $pids; do
        wait_until 5 is_gone "$pid"
    done
    expect_exit 3 borgctl --timeout 2 jobs
}

@test "tasks continue to run and to write logs meanwhile" {
    still_there "$(cat "$SPECS/before")"
}

@test "cell up brings back the same jobs and processes without a new attempt" {
    cell_up --replicas 5 --borglets 3
    wait_until 20 replicas_agree 5
    wait_until 20 job_runs web 4
    wait_until 20 job_runs crunch 3
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
    wait_until 10 replicas_agree 5
    same "jobs" "$(cat "$SPECS/jobs")" "$(jobs_now)"
    same "attempts" 7 "$(ask "SELECT count(*) FROM events WHERE kind = 'assigned'")"
}

@test "the log of an adopted task can be read, and the task can be killed" {
    local pid before
    pid="$(task_field web 0 pid)"
    before="$(borgctl logs web/0 | wc -l)"
    more_log()
    {
        (($(borgctl logs web/0 | wc -l) > before))
    }
    wait_until 10 more_log
    borgctl kill web
    wait_until 20 job_is web killed
    wait_until 5 is_gone "$pid"
}

@test "all replicas have the same state" {
    wait_until 20 replicas_agree 5
}
