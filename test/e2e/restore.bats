#!/usr/bin/env bats
# restore.bats - all masters and their disks are lost; a checkpoint brings the cell back, and the
# borglets of the lost cell continue with it.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2
}

teardown_file()
{
    cell_away
}

# Kill the masters and remove their disks.
masters_destroy()
{
    local id pid pids=()
    for id in 1 2 3; do
        pids+=("$(cut -d' ' -f1 "$BORG_CELL/run/master$id.pid")")
    done
    kill -KILL "${pids[@]}"
    for pid in "${pids[@]}"; do
        wait_until 5 is_gone "$pid"
    done
    rm -rf "$BORG_CELL"/master*
}

restore() # FILE
{
    borgctl -q cell restore "$1" --dir "$BORG_CELL"
}

file() # NAME
{
    echo "$BATS_FILE_TMPDIR/$1.db"
}

expect_web_untouched()
{
    wait_until 20 job_runs web 3
    same "tasks of web" "$(cat "$SPECS/before")" "$(running_tasks | grep '^web/')"
}

@test "a checkpoint is made, and then more jobs are submitted" {
    wait_until 20 replicas_agree 3
    submit web 200 3 50m 'exec sleep 1000'
    wait_until 20 job_runs web 3
    running_tasks >"$SPECS/before"
    borgctl cell checkpoint --fresh "$(file monday)"
    submit late 200 2 50m 'exec sleep 1000'
    wait_until 20 job_runs late 2
    running_tasks | grep '^late/' >"$SPECS/late"
}

@test "an existing cell is never overwritten" {
    expect_exit 1 restore "$(file monday)"
    expect_text 'master1 of the cell in .* is running'
    mkdir "$BATS_FILE_TMPDIR/other"
    touch "$BATS_FILE_TMPDIR/other/file"
    expect_exit 1 borgctl cell restore "$(file monday)" --dir "$BATS_FILE_TMPDIR/other"
    expect_text 'contains other files'
}

@test "a checkpoint is restored into a second cell with machines of its own" {
    local there="$BATS_FILE_TMPDIR/beside/cell"
    mkdir -p "$BATS_FILE_TMPDIR/beside"
    borgctl -q cell restore "$(file monday)" --dir "$there" --replicas 1 --borglets 1
    beside_runs()
    {
        [[ "$(borgctl --cell "$there" -o json query --fresh \
            "SELECT count(*) AS n FROM task_list WHERE job = 'web' AND attempt > 1 AND
            state = 'running'" | jq '.[0].n')" == 3 ]]
    }
    wait_until 40 beside_runs # there is no m2, so its tasks move
    borgctl -q cell down --dir "$there" --tasks --wipe
}

@test "all masters are lost but for one directory, and that is not overwritten" {
    masters_destroy
    mkdir -p "$BORG_CELL/master2/raft"
    expect_exit 1 restore "$(file monday)"
    expect_text 'master2 contains a cell'
    rm -r "$BORG_CELL/master2"
    still_there "$(cat "$SPECS/before")"
}

@test "an unsound checkpoint or one of another version is refused, and leaves nothing behind" {
    local size
    echo 'not a database, but of some length' >"$(file text)"
    : >"$(file empty)"
    sqlite3 "$(file foreign)" 'CREATE TABLE t (a)'
    size="$(stat -c %s "$(file monday)")"
    head -c "$((size / 2))" "$(file monday)" >"$(file torn)"
    cp "$(file monday)" "$(file changed)"
    sqlite3 "$(file changed)" "UPDATE tasks SET attempt = 7 WHERE idx = 0"
    cp "$(file monday)" "$(file flipped)"
    printf '\x99' | dd of="$(file flipped)" bs=1 seek=$((size / 3)) conv=notrunc status=none
    while read -r name text; do
        expect_exit 1 restore "$(file "$name")"
        expect_text "$text"
    done <<'END'
missing cannot read .*missing.db: No such file
text text.db: it is no database
empty empty.db: it is no database
foreign foreign.db: it is a database, but not one of a cell
torn torn.db: .*malformed
changed changed.db: its first page is damaged
flipped flipped.db: .*a page does not have the checksum
END
    expect_exit 1 borgctl cell restore "$(file flipped)" --dir "$BATS_FILE_TMPDIR/fresh"
    [[ ! -e "$BATS_FILE_TMPDIR/fresh" ]]
    [[ ! -e "$BORG_CELL/master1/raft" && ! -e "$BORG_CELL/restoring" ]]
    same "left of attempts" "lock" "$(ls "$BORG_CELL/master1")"
}

@test "an interrupted restore is started over, and a partial one is never started" {
    mkdir -p "$BORG_CELL/master1/raft"
    touch "$BORG_CELL/restoring" "$BORG_CELL/master1/raft/metadata1"
    expect_exit 1 borgctl cell up --dir "$BORG_CELL"
    expect_text 'was interrupted; repeat it'
    restore "$(file monday)"
}

@test "the borglets return; known tasks were not restarted, later ones are stopped" {
    wait_until 20 replicas_agree 3
    expect_web_untouched
    while read -r _ _ pid _ _; do
        wait_until 10 is_gone "$pid"
    done <"$SPECS/late"
    expect_exit 1 borgctl job late
    same "attempts of web" 3 "$(ask "SELECT count(*) FROM events WHERE kind = 'assigned'")"
    same "restored" 1 "$(ask "SELECT count(*) FROM events WHERE kind = 'restored' AND
        detail LIKE 'from a checkpoint of index %what came after it is lost%'")"
}

@test "the restored cell works: jobs run, and a lost database is rebuilt from the log" {
    local follower pid
    submit late 200 1 50m 'exec sleep 1000'
    wait_until 20 job_runs late 1
    # Its index starts at a mark, where all replicas compare their digests.
    same "marks" 1 "$(status_json | jq -r '.replicas[] | select(.mark_index > 0)
        | "\(.mark_index) \(.mark_digest)"' | sort -u | wc -l)"
    follower=$(($(leader_id) % 3 + 1))
    pid="$(pid_of_replica "$follower")"
    kill -KILL "$pid"
    wait_until 5 is_gone "$pid"
    rm -f "$BORG_CELL/master$follower"/cell.db*
    cell_up
    wait_until 20 replicas_agree 3
    expect_web_untouched
}

@test "a second restore of the same checkpoint starts at a later index" {
    local index
    index="$(status_json | jq '.replicas[0].applied_index')"
    masters_destroy
    restore "$(file monday)"
    wait_until 20 replicas_agree 3
    (($(status_json | jq '.replicas[0].applied_index') > index))
    expect_web_untouched
    expect_exit 1 borgctl job late
}
