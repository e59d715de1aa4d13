#!/usr/bin/env bats
# quorum.bats - with two of five masters dead the cell works; with three dead only tasks continue.
load lib.bash

setup_file()
{
    cell_up --replicas 5 --borglets 2
    wait_until 20 replicas_agree 5
}

teardown_file()
{
    cell_away
}

kill_replicas() # COUNT: followers that run
{
    local leader id pid count="$1"
    leader="$(leader_id)"
    for id in $(live_replica_ids); do
        [[ "$id" != "$leader" && "$count" -gt 0 ]] || continue
        pid="$(pid_of_replica "$id")"
        kill -KILL "$pid"
        wait_until 5 is_gone "$pid"
        count=$((count - 1))
    done
    [[ $count -eq 0 ]]
}

nobody_leads()
{
    borgctl --timeout 3 -o json cell status |
        jq -e '[.replicas[] | select(.role == "leader")] | length == 0'
}

@test "with two dead masters jobs are accepted and run" {
    kill_replicas 2
    submit web 200 3 50m 'exec sleep 1000'
    wait_until 20 job_runs web 3
    wait_until 20 replicas_agree 3
    running_tasks >"$SPECS/before"
}

@test "with three dead masters borgctl reports that there is no leader and exits with 3" {
    kill_replicas 1
    # A leader that is still unaware would accept the command, and its outcome would be unknown.
    wait_until 20 nobody_leads
    expect_exit 3 borgctl --timeout 3 submit "$(spec late 200 1 50m 'exec sleep 1000')"
    expect_text 'leader'
}

@test "status is answered by the remaining masters" {
    same "replicas that answer" 2 "$(borgctl --timeout 3 -o json cell status |
        jq '[.replicas[] | select((.pid // 0) > 0)] | length')"
}

@test "tasks continue" {
    still_there "$(cat "$SPECS/before")"
}

@test "after the masters return status reports no problem" {
    cell_up --replicas 5 --borglets 2
    wait_until 20 replicas_agree 5
    wait_until 20 job_runs web 3
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
    same "jobs that were refused" 0 "$(ask "SELECT count(*) FROM jobs WHERE name = 'late'")"
    submit after 200 1 50m 'exec sleep 1000'
    wait_until 20 job_runs after 1
    wait_until 20 replicas_agree 5
}
