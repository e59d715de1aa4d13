#!/usr/bin/env bats
# crash.bats - tasks that crash, that cannot start, and jobs that fail for good.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2
    wait_until 20 replicas_agree 3
}

teardown_file()
{
    cell_away
}

events_of() # JOB KIND
{
    ask "SELECT count(*) FROM events WHERE kind = '$2' AND job_name = '$1'"
}

events_at_least() # JOB KIND COUNT
{
    (($(events_of "$1" "$2") >= $3))
}

@test "a crashing task is restarted after a back-off that doubles" {
    submit crash 100 1 10m 'echo boom >&2; exit 3' \
        '.task.restart = "on-failure" | .task.backoff = "500ms" | .task.max_backoff = "60s"'
    wait_until 30 events_at_least crash assigned 4
    local pauses
    pauses="$(ask "SELECT kind, time_ms FROM events WHERE job_name = 'crash' AND kind IN
        ('failed', 'assigned') ORDER BY seq" |
        awk '$1 == "failed" { ended = $2 } $1 == "assigned" && ended { print $2 - ended }')"
    figure "a crashing task ran again after $(head -3 <<<"$pauses" | xargs) ms" \
        "(500 1000 2000 asked)"
    # The restart is not early, and not so late that the delay has another cause.
    awk 'NR <= 3 && ($1 < 250 * 2 ^ NR || $1 > 250 * 2 ^ NR + 3000) { exit 1 }' <<<"$pauses"
}

@test "each restart is on another machine than the last one, if possible" {
    same "machines of the first two attempts" 2 "$(ask "SELECT count(DISTINCT machine_id)
        FROM events WHERE job_name = 'crash' AND kind = 'assigned' AND attempt <= 2")"
    same "where it crashed" "m1 m2" "$(borgctl -o json tasks crash | jq -r '.[0].crashed_on' |
        tr ' ' '\n' | sort | paste -sd' ')"
}

@test "its events have the exit code, and its log has its output" {
    same "exit codes" 3 "$(ask "SELECT DISTINCT exit_code FROM events WHERE kind = 'failed' AND
        job_name = 'crash'")"
    same "stderr" boom "$(borgctl logs --err crash/0)"
    same "stderr of attempt 2" boom "$(borgctl logs --err --attempt 2 crash/0)"
    task_is crash 0 cause exit
}

@test "jobs shows that it backs off" {
    backing_off()
    {
        borgctl -o json jobs | jq -e '.[] | select(.job == "crash") | .pending == 1'
    }
    wait_until 10 backing_off
    borgctl kill crash
    wait_until 10 job_is crash killed
}

@test "the signal that killed a task is reported" {
    submit shot 100 1 10m 'kill -SEGV $$' '.task.restart = "never"'
    wait_until 20 job_is shot failed
    same "exit code" -11 "$(task_field shot 0 exit_code)"
    task_is shot 0 cause signal
}

@test "a command that does not exist is a start error with its name" {
    borgctl submit "$(spec missing 100 1 10m '' '.task.command = ["/no/such/program", "x"]')"
    wait_until 20 events_at_least missing failed 1
    task_is missing 0 cause start-error
    ask "SELECT detail FROM events WHERE kind = 'failed'" | grep '/no/such/program'
    borgctl kill missing
    wait_until 10 job_is missing killed
}

@test "all replicas have the same state" {
    wait_until 20 replicas_agree 3
}
