#!/usr/bin/env bats
# shares.bats - the machines of a dead replica move to others, and some move back when it returns.
load lib.bash

MACHINES=30

setup_file()
{
    cell_up --replicas 5 --borglets "$MACHINES"
    wait_until 20 replicas_agree 5
}

teardown_file()
{
    cell_away
}

# Print "ID LINKS", sorted by the number of machines, largest first.
shares()
{
    status_json | jq -r '.replicas[] | select((.pid // 0) > 0) | "\(.id) \(.links)"' | sort -k2nr
}

all_driven()
{
    [[ "$(shares | awk '{ sum += $2 } END { print sum }')" == "$MACHINES" ]]
}

# An equal share of 30 is 6: more than 7 is uneven.
shares_even()
{
    all_driven && (($(shares | head -1 | cut -d' ' -f2) <= 7)) && [[ $(shares | wc -l) -eq 5 ]]
}

@test "every replica drives some machines" {
    wait_until 20 all_driven
    wait_until 20 shares_even
    submit web 200 "$MACHINES" 10m 'exec sleep 1000' '.policy = "worst-fit"'
    wait_until 30 job_runs web "$MACHINES"
    running_tasks >"$SPECS/before"
}

@test "within two seconds other replicas drive the machines of a dead one" {
    local id share since
    read -r id share < <(shares)
    echo "$id" >"$SPECS/dead"
    since="$(now_ms)"
    kill -KILL "$(pid_of_replica "$id")"
    wait_until 10 all_driven
    figure "$share machines of a dead replica were driven by others after $(($(now_ms) - since)) ms"
    (($(now_ms) - since <= 2000))
}

@test "when it returns it gets some machines back, and no task is affected" {
    local since
    cell_up --replicas 5 --borglets "$MACHINES"
    since="$(now_ms)"
    wait_until 30 shares_even
    figure "shares were even $(($(now_ms) - since)) ms after a replica came back"
    (($(shares | awk -v id="$(cat "$SPECS/dead")" '$1 == id { print $2 }') >= 2))
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
    same "machines ever down" 0 "$(ask "SELECT count(*) FROM events WHERE kind = 'machine-down'")"
    grep -lq 'link.move_begun' "$BORG_CELL"/log/m*.log
}

@test "after a rolling restart the shares are even again" {
    local id pid
    for id in 1 2 3 4 5; do
        pid="$(pid_of_replica "$id")"
        kill -TERM "$pid"
        wait_until 20 is_gone "$pid"
        cell_up --replicas 5 --borglets "$MACHINES"
        wait_until 20 replicas_agree 5
    done
    wait_until 40 shares_even
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
    wait_until 20 replicas_agree 5
}
