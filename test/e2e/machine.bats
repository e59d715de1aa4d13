#!/usr/bin/env bats
# machine.bats - a borglet restarts, and one stays away until it has lost its tasks.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 3
    wait_until 20 replicas_agree 3
    wait_sql 20 3 "SELECT count(*) FROM machines WHERE state = 'up'"
}

teardown_file()
{
    cell_away
}

@test "tasks are spread over the machines" {
    submit web 200 6 50m 'exec sleep 1000' '.policy = "worst-fit"'
    wait_until 20 job_runs web 6
    same "machines" 3 "$(running_tasks | cut -d' ' -f5 | sort -u | wc -l)"
}

@test "a borglet that was killed and restarted adopts its tasks" {
    local before machine pid
    before="$(running_tasks)"
    machine="$(head -1 <<<"$before" | cut -d' ' -f5)"
    pid="$(pid_of_borglet "$machine")"
    kill -KILL "$pid"
    wait_until 5 is_gone "$pid"
    cell_up --replicas 3 --borglets 3
    [[ "$(pid_of_borglet "$machine")" != "$pid" ]]
    # A task that starts there shows that the new borglet and its master agree on what runs.
    submit probe 200 1 10m 'exec sleep 1000' ".task.constraints = [\"machine = $machine\"]"
    wait_until 20 job_runs probe 1
    borgctl kill probe --wait
    same "running tasks" "$before" "$(running_tasks)"
}

@test "the tasks of a machine that is silent for eight seconds are rescheduled" {
    local machine pid since
    machine="$(running_tasks | head -1 | cut -d' ' -f5)"
    running_tasks | awk -v m="$machine" '$5 == m' >"$SPECS/lost"
    running_tasks | awk -v m="$machine" '$5 != m' >"$SPECS/kept"
    echo "$machine" >"$SPECS/machine"
    pid="$(pid_of_borglet "$machine")"
    since="$(now_ms)"
    kill -KILL "$pid"
    wait_sql 25 "$machine" "SELECT name FROM machines WHERE state = 'down'"
    figure "a dead machine was noticed after $(($(now_ms) - since)) ms"
    wait_until 20 job_runs web 6
    figure "its tasks ran elsewhere after $(($(now_ms) - since)) ms"
    (($(now_ms) - since >= 7000))
    same "tasks still on it" "" "$(running_tasks | awk -v m="$machine" '$5 == m')"
    same "evictions by cause" "machine-down" \
        "$(ask "SELECT DISTINCT cause FROM events WHERE kind IN ('lost', 'evicted')")"
    same "tasks elsewhere" "$(cat "$SPECS/kept")" \
        "$(running_tasks | grep -Ff <(cut -d' ' -f1 "$SPECS/kept" | sed 's/$/ /'))"
}

@test "its old processes continue while it is unreachable" {
    still_there "$(cat "$SPECS/lost")"
}

@test "when it returns it kills the rescheduled tasks" {
    local pid
    cell_up --replicas 3 --borglets 3
    wait_sql 20 3 "SELECT count(*) FROM machines WHERE state = 'up'"
    while read -r _ _ pid _; do
        wait_until 20 is_gone "$pid"
    done <"$SPECS/lost"
    job_runs web 6
}

@test "it stays up and gets tasks again" {
    submit more 200 6 50m 'exec sleep 1000' '.policy = "worst-fit"'
    wait_until 20 job_runs more 6
    borgctl machines
    running_tasks
    same "times it went down" 1 "$(ask "SELECT count(*) FROM events WHERE kind = 'machine-down'")"
    running_tasks | grep -c "^more/.* $(cat "$SPECS/machine")\$"
}

@test "all replicas have the same state" {
    wait_until 20 replicas_agree 3
}
