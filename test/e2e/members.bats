#!/usr/bin/env bats
# members.bats - replicas are added and removed while the cell works: 1, 3, 5; one is killed, wiped
# and replaced; two more are killed; and there is a rolling restart under load.
load lib.bash

setup_file()
{
    cell_up --replicas 1 --borglets 2
}

teardown_file()
{
    cell_away
}

replicas_are() # "ID STATE,..."
{
    [[ "$(ask "SELECT group_concat(id || ' ' || state) FROM
        (SELECT * FROM replicas ORDER BY id)")" == "$1" ]]
}

@test "one replica becomes three, then five, while jobs are submitted" {
    submit steady 200 4 50m 'exec sleep 1000'
    wait_until 20 job_runs steady 4
    running_tasks >"$SPECS/before"
    write_on grow 3>&- 4>&- &
    wait_until 20 writes_reach 5
    local id
    for id in 2 3 4 5; do
        expect_exit 0 borgctl cell add-replica
        expect_text "replica $id at .* is a member"
    done
    writers_end
    replicas_are "1 member,2 member,3 member,4 member,5 member"
    wait_until 20 replicas_agree 5
    same "jobs" "$(awk '$2 == 0 { print $1 }' "$SPECS/acks.grow" | sort)" \
        "$(ask "SELECT name FROM jobs WHERE name LIKE 'load-grow-%'" | sort)"
    same "submits that failed" "" "$(awk '$2 != 0' "$SPECS/acks.grow")"
}

@test "in a rolling restart of all five no write waits a second, and no task is affected" {
    local before quiet
    rm -f "$SPECS"/acks.*
    before="$(status_json | jq -c '[.replicas[].pid] | sort')"
    write_on a 3>&- 4>&- &
    write_on b 3>&- 4>&- &
    quiet="$(gap_of_quiet_writes 40)"
    expect_exit 0 borgctl cell restart
    expect_text 'replica 5 runs version'
    wait_until 20 writes_reach $(($(cat "$SPECS"/acks.* | wc -l) + 10))
    writers_end
    figure "longest gap of writes over a rolling restart: $(longest_gap_ms) ms"
    same "submits that failed" "" "$(awk '$2 != 0' "$SPECS"/acks.*)"
    same "jobs" "$(cut -d' ' -f1 "$SPECS"/acks.* | sort)" \
        "$(ask "SELECT name FROM jobs WHERE name LIKE 'load-a-%' OR name LIKE 'load-b-%'" | sort)"
    (($(longest_gap_ms) < 1000 + quiet))
    same "masters that were not restarted" "" \
        "$(comm -12 <(jq -r '.[]' <<<"$before" | sort) \
            <(status_json | jq -r '.replicas[].pid' | sort))"
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
}

@test "a change that would cost the quorum is refused with the reason" {
    local leader down pid
    expect_exit 1 borgctl cell remove-replica 9
    expect_text 'there is no replica 9'
    expect_exit 2 borgctl cell remove-replica two
    expect_exit 2 borgctl cell replace-replica 2 --addr nowhere
    expect_text '"nowhere" is neither HOST:PORT'
    expect_exit 1 borgctl cell add-replica \
        --addr "$(jq -r '.replicas[0].rpc' "$BORG_CELL/cell.json")"
    expect_text 'is an address of replica 1'
    leader="$(leader_id)"
    down=$((leader % 5 + 1))
    pid="$(pid_of_replica "$down")"
    kill -KILL "$pid"
    wait_until 5 is_gone "$pid"
    rm -r "$BORG_CELL/master$down"
    echo "$down" >"$SPECS/down"
    sleep 1.3 # a replica counts as down after a second without an answer
    expect_exit 1 borgctl cell add-replica
    expect_text "replica $down has not answered .*: bring it back or replace it"
    expect_exit 1 borgctl cell remove-replica "$leader"
    expect_text "replica $down has not answered .*: bring it back, or remove or replace that one"
    expect_exit 1 borgctl cell restart
    expect_text "replica $down does not answer"
    replicas_are "1 member,2 member,3 member,4 member,5 member"
}

died_of() # ID REGEX
{
    grep -Eq "master.aborted reason=.*$2" "$BORG_CELL/log/master$1.log"
}

@test "a wiped replica is not admitted under its old number" {
    local down
    down="$(cat "$SPECS/down")"
    borgctl --timeout 3 cell up --dir "$BORG_CELL" || true
    wait_until 10 died_of "$down" "the directory of replica $down is empty, but the cell counts on"
    [[ ! -e "$BORG_CELL/master$down/raft" ]]
}

@test "it is replaced by a new one while the cell works" {
    local down
    down="$(cat "$SPECS/down")"
    submit more 200 2 50m 'exec sleep 1000'
    expect_exit 0 borgctl cell replace-replica "$down"
    expect_text "replica $down is gone"
    expect_text 'replica 6 at .* is a member'
    wait_until 20 job_runs more 2
    wait_until 20 replicas_agree 5
    jq -e --argjson id "$down" 'all(.replicas[]; .id != $id)' "$BORG_CELL/cell.json"
    [[ ! -e "$BORG_CELL/master$down" ]]
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks | grep '^steady/')"
}

@test "after two more are killed nothing is lost" {
    local id pid killed=0
    ask "SELECT name, state FROM jobs ORDER BY id" >"$SPECS/jobs"
    for id in $(live_replica_ids); do
        [[ "$id" != 6 && "$id" != "$(leader_id)" && $killed -lt 2 ]] || continue
        pid="$(pid_of_replica "$id")"
        kill -KILL "$pid"
        wait_until 5 is_gone "$pid"
        killed=$((killed + 1))
    done
    wait_until 20 replicas_agree 3
    same "jobs" "$(cat "$SPECS/jobs")" "$(ask "SELECT name, state FROM jobs ORDER BY id")"
    submit last 200 1 50m 'exec sleep 1000'
    wait_until 20 job_runs last 1
    # Without a third one there is no majority.
    sleep 1.3 # replicas count as down after a second without an answer
    expect_exit 1 borgctl cell remove-replica 6
    expect_text 'without replica 6 2 of 4 replicas would answer, 3 are needed'
    cell_up
    wait_until 20 replicas_agree 5
}

@test "a leader that is removed transfers leadership, and borglets and clients find the others" {
    local leader
    leader="$(leader_id)"
    expect_exit 0 borgctl cell remove-replica "$leader"
    expect_text "replica $leader is gone"
    wait_until 20 replicas_agree 4
    [[ "$(leader_id)" != "$leader" ]]
    same "masters" 4 "$(jq '.replicas | length' "$BORG_CELL/cell.json")"
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks | grep '^steady/')"
    wait_sql 10 2 "SELECT count(*) FROM machines WHERE state = 'up'"
}

@test "the history contains these changes" {
    ask "SELECT kind FROM events WHERE kind LIKE 'replica-%' GROUP BY kind ORDER BY kind" |
        tr '\n' ' ' | grep -q 'replica-gone replica-joined replica-joining replica-leaving'
    cell_up
    wait_until 20 replicas_agree 4
}
