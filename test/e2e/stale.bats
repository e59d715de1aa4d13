#!/usr/bin/env bats
# stale.bats - a replica is stopped for long and then continues with old data in its sockets.
load lib.bash

MACHINES=10

setup_file()
{
    cell_up --replicas 5 --borglets "$MACHINES"
    wait_until 20 replicas_agree 5
}

teardown_file()
{
    cell_away
}

driven_by_others() # ID: other replicas than this one, which does not answer
{
    [[ "$(borgctl --timeout 3 -o json cell status | jq --argjson id "$1" '[.replicas[]
        | select(.id != $id and (.pid // 0) > 0) | .links] | add')" == "$MACHINES" ]]
}

# Print "ID PID" of the follower that drives most machines, or of the leader.
busiest_follower()
{
    status_json | jq -r '[.replicas[] | select(.role == "follower")] | max_by(.links)
        | "\(.id) \(.pid)"'
}

the_leader()
{
    status_json | jq -r '.replicas[] | select(.role == "leader") | "\(.id) \(.pid)"'
}

# Print when the last machine found another replica, according to the machines' logs.
last_link_ms()
{
    grep -h ' link.up ' "$BORG_CELL"/log/m*.log | sort | tail -n 1 | cut -d' ' -f1 |
        date -f - +%s%3N
}

# Stop a replica; meanwhile one job ends, another starts, and its machines leave the replica.
stand_still() # ID PID OLD NEW
{
    local since
    since="$(now_ms)"
    kill -STOP "$2"
    wait_until 10 driven_by_others "$1"
    figure "machines of a replica that stands still were driven by others after" \
        "$(($(last_link_ms) - since)) ms"
    (($(last_link_ms) - since <= 5000))
    borgctl --timeout 10 kill "$3"
    submit "$4" 200 "$MACHINES" 10m 'exec sleep 1000' '.policy = "worst-fit"'
    wait_until 20 job_runs "$4" "$MACHINES"
    wait_until 20 job_is "$3" killed
    running_tasks >"$SPECS/before"
    kill -CONT "$2"
    wait_until 20 replicas_agree 5
}

nothing_happened()
{
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
    still_there "$(cat "$SPECS/before")"
    same "attempts beyond the first" 0 "$(ask "SELECT count(*) FROM tasks WHERE attempt > 1")"
    same "lost or machines down" 0 \
        "$(ask "SELECT count(*) FROM events WHERE kind IN ('lost', 'machine-down')")"
}

@test "a job runs on every machine" {
    submit first 200 "$MACHINES" 10m 'exec sleep 1000' '.policy = "worst-fit"'
    wait_until 20 job_runs first "$MACHINES"
}

@test "a stopped follower continues, and no task is started, stopped or lost by it" {
    local id pid
    read -r id pid < <(busiest_follower)
    stand_still "$id" "$pid" first second
    nothing_happened
}

@test "a stopped leader continues, and no task is started, stopped or lost by it" {
    local id pid
    read -r id pid < <(the_leader)
    stand_still "$id" "$pid" second third
    nothing_happened
}

@test "a replica that stops for a second only keeps its machines, or loses nothing" {
    local id pid
    read -r id pid < <(busiest_follower)
    for _ in 1 2 3 4 5; do
        kill -STOP "$pid"
        sleep 0.8
        kill -CONT "$pid"
        sleep 0.2
    done
    wait_until 20 replicas_agree 5
    nothing_happened
}
