#!/usr/bin/env bats
# stale.bats - a replica is stopped for long and goes on with what is left in its sockets.
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

driven_by_others() # ID: than this one, which does not answer
{
    [[ "$(borgctl --timeout 3 -o json cell status | jq --argjson id "$1" '[.replicas[]
        | select(.id != $id and (.pid // 0) > 0) | .links] | add')" == "$MACHINES" ]]
}

# "ID PID" of the follower that drives most machines; of the leader.
busiest_follower()
{
    status_json | jq -r '[.replicas[] | select(.role == "follower")] | max_by(.links)
        | "\(.id) \(.pid)"'
}

the_leader()
{
    status_json | jq -r '.replicas[] | select(.role == "leader") | "\(.id) \(.pid)"'
}

# When the last machine found another replica, by the machines' logs.
last_link_ms()
{
    grep -h ' link.up ' "$BORG_CELL"/log/m*.log | sort | tail -n 1 | cut -d' ' -f1 |
        date -f - +%s%3N
}

# Stop a replica; while it stands still one job ends, another comes, and its machines leave it.
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

@test "a follower stands still and goes on: nobody is started, stopped or lost because of it" {
    local id pid
    read -r id pid < <(busiest_follower)
    stand_still "$id" "$pid" first second
    nothing_happened
}

@test "so does the leader" {
    local id pid
    read -r id pid < <(the_leader)
    stand_still "$id" "$pid" second third
    nothing_happened
}

@test "one that stands still for a second only is not left, or loses nothing" {
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
