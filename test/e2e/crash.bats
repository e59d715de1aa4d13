#!/usr/bin/env bats
# crash.bats - tasks that crash, that cannot be started, that fail for good.
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

@test "a crashing task is started again, after a pause that doubles" {
    submit crash 100 1 10m 'echo boom >&2; exit 3' \
        '.task.restart = "on-failure" | .task.backoff = "500ms" | .task.max_backoff = "60s"'
    wait_until 30 events_at_least crash running 4
    local gaps
    gaps="$(ask "SELECT time_ms FROM events WHERE kind = 'running' AND
        job_name = 'crash' ORDER BY seq LIMIT 4" |
        awk 'NR > 1 { print $1 - last } { last = $1 }')"
    figure "a crashing task ran again after" "$(tr '\n' ' ' <<<"$gaps")ms (500 1000 2000 asked)"
    awk 'NR == 1 && $1 < 500 || NR == 2 && $1 < 1000 || NR == 3 && $1 < 2000 { exit 1 }' <<<"$gaps"
}

@test "its events tell the exit code, its log what it said" {
    same "exit codes" 3 "$(ask "SELECT DISTINCT exit_code FROM events WHERE kind = 'failed' AND
        job_name = 'crash'")"
    same "stderr" boom "$(borgctl logs --err --attempt 1 crash/0)"
    task_is crash 0 cause exit
}

@test "while it waits, jobs says so" {
    backing_off()
    {
        borgctl -o json jobs | jq -e '.[] | select(.job == "crash") | .pending == 1'
    }
    wait_until 10 backing_off
    borgctl kill crash
    wait_until 10 job_is crash killed
}

@test "a task killed by a signal says which" {
    submit shot 100 1 10m 'kill -SEGV $$' '.task.restart = "never"'
    wait_until 20 job_is shot failed
    same "exit code" -11 "$(task_field shot 0 exit_code)"
    task_is shot 0 cause signal
}

@test "a command that does not exist is a start error that names it" {
    borgctl submit "$(spec missing 100 1 10m '' '.task.command = ["/no/such/program", "x"]')"
    wait_until 20 events_at_least missing failed 1
    task_is missing 0 cause start-error
    ask "SELECT detail FROM events WHERE kind = 'failed'" | grep '/no/such/program'
    borgctl kill missing
    wait_until 10 job_is missing killed
}

@test "all replicas hold the same" {
    wait_until 20 replicas_agree 3
}
