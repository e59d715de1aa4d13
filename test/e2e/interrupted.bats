#!/usr/bin/env bats
# interrupted.bats - changes of the replicas that nobody sees the end of: borgctl is stopped with ^C
# or killed, masters die in the middle. cell.json follows the cell, and the cell goes on.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 1
}

teardown_file()
{
    cell_away
}

ids_of_file()
{
    jq -r '[.replicas[].id] | sort | map(tostring) | join(" ")' "$BORG_CELL/cell.json"
}

ids_of_cell()
{
    ask "SELECT group_concat(id, ' ') FROM (SELECT id FROM replicas ORDER BY id)"
}

# `cell up` as often as needed: cell.json and the processes become what the cell says.
settled() # COUNT
{
    cell_up || return 1
    [[ "$(ids_of_file)" == "$(ids_of_cell)" ]] &&
        sql_is "$1" "SELECT count(*) FROM replicas WHERE state = 'member'" &&
        sql_is 0 "SELECT count(*) FROM replicas WHERE state <> 'member'"
}

# A follower, by the leader's word.
follower_id()
{
    live_replica_ids | grep -vx "$(leader_id)" | head -n 1
}

no_ghosts()
{
    local id
    for id in $(ls "$BORG_CELL" | sed -n 's/^master//p'); do
        grep -qw "$id" <<<"$(ids_of_file)" || {
            echo "the directory of replica $id is still there"
            return 1
        }
    done
    expect_exit 0 borgctl cell status
}

@test "^C in replace-replica, at several moments, leaves no ghost" {
    local after old
    for after in 0.05 0.15 0.3 0.6 0.9; do
        old="$(follower_id)"
        timeout -s INT "$after" "$BUILD/borgctl" cell replace-replica "$old" \
            </dev/null 3>&- 4>&- || true
        # Whatever was begun is carried out, by the cell and by `cell up`.
        wait_until 40 settled 3
        wait_until 20 replicas_agree 3
        no_ghosts
    done
}

@test "status and remove-replica know who is a member, whatever cell.json says" {
    local old before
    expect_exit 0 borgctl cell add-replica
    wait_until 20 replicas_agree 4
    old="$(follower_id)"
    before="$(cat "$BORG_CELL/cell.json")"
    expect_exit 0 borgctl cell remove-replica "$old"
    echo "$before" >"$BORG_CELL/cell.json" # who wrote it was killed before
    expect_exit 0 borgctl cell status
    expect_text '3 of 3 masters answer'
    expect_exit 0 borgctl cell remove-replica "$old"
    expect_text "replica $old is gone"
    same "cell.json" "$(ids_of_cell)" "$(ids_of_file)"
    echo "$before" >"$BORG_CELL/cell.json"
    expect_exit 1 borgctl cell replace-replica "$old"
    expect_text "replica $old is gone already"
    echo "$before" >"$BORG_CELL/cell.json"
    cell_up
    grep -q '3 masters' "$SPECS/up.out"
    same "cell.json" "$(ids_of_cell)" "$(ids_of_file)"
    [[ ! -e "$BORG_CELL/master$old" ]]
}

@test "a removed replica does not come back when all start from an old cell.json" {
    local old before
    expect_exit 0 borgctl cell add-replica
    wait_until 20 replicas_agree 4
    old="$(follower_id)"
    cp -r "$BORG_CELL/master$old" "$BORG_CELL/log/kept"
    before="$(cat "$BORG_CELL/cell.json")"
    expect_exit 0 borgctl cell remove-replica "$old"
    borgctl cell down
    echo "$before" >"$BORG_CELL/cell.json"
    mv "$BORG_CELL/log/kept" "$BORG_CELL/master$old"
    wait_until 40 settled 3
    no_ghosts
}
