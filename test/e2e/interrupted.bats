#!/usr/bin/env bats
# interrupted.bats - changes of the replicas are interrupted: borgctl gets ^C or is killed, masters
# die in the middle. cell.json follows the cell, and the cell continues.
load lib.bash

setup_file()
{
    cell_up --replicas 5 --borglets 1
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

# Repeat `cell up` until cell.json and the processes match the cell.
settled() # COUNT
{
    cell_up || return 1
    [[ "$(ids_of_file)" == "$(ids_of_cell)" ]] &&
        sql_is "$1" "SELECT count(*) FROM replicas WHERE state = 'member'" &&
        sql_is 0 "SELECT count(*) FROM replicas WHERE state <> 'member'"
}

# Print a follower, as reported by the leader.
follower_id()
{
    live_replica_ids | grep -vx "$(leader_id)" | head -n 1
}

no_ghosts()
{
    local id
    for id in $(find "$BORG_CELL" -maxdepth 1 -name 'master*' | sed 's/.*master//'); do
        grep -qw "$id" <<<"$(ids_of_file)" || {
            echo "the directory of replica $id is still there"
            return 1
        }
    done
    expect_exit 0 borgctl cell status
}

@test "^C at several moments of replace-replica leaves no stray replica" {
    local after old
    for after in 0.05 0.15 0.3 0.6 0.9; do
        old="$(follower_id)"
        timeout -s INT "$after" "$BUILD/borgctl" cell replace-replica "$old" \
            </dev/null 3>&- 4>&- || true
        # A change that has started is completed by the cell and by `cell up`.
        wait_until 40 settled 5
        wait_until 20 replicas_agree 5
        no_ghosts
    done
}

@test "status and remove-replica use the cell's members, whatever cell.json contains" {
    local old before
    expect_exit 0 borgctl cell add-replica
    wait_until 20 replicas_agree 6
    old="$(follower_id)"
    before="$(cat "$BORG_CELL/cell.json")"
    expect_exit 0 borgctl cell remove-replica "$old"
    echo "$before" >"$BORG_CELL/cell.json" # as if its writer had been killed earlier
    expect_exit 0 borgctl cell status
    expect_text '5 of 5 masters answer'
    expect_exit 0 borgctl cell remove-replica "$old"
    expect_text "replica $old is gone"
    same "cell.json" "$(ids_of_cell)" "$(ids_of_file)"
    echo "$before" >"$BORG_CELL/cell.json"
    expect_exit 1 borgctl cell replace-replica "$old"
    expect_text "replica $old was removed already"
    echo "$before" >"$BORG_CELL/cell.json"
    cell_up
    grep -q '5 masters' "$SPECS/up.out"
    same "cell.json" "$(ids_of_cell)" "$(ids_of_file)"
    [[ ! -e "$BORG_CELL/master$old" ]]
}

@test "a removed replica does not return when all start from an old cell.json" {
    local old before
    expect_exit 0 borgctl cell add-replica
    wait_until 20 replicas_agree 6
    old="$(follower_id)"
    cp -r "$BORG_CELL/master$old" "$BORG_CELL/log/kept"
    before="$(cat "$BORG_CELL/cell.json")"
    expect_exit 0 borgctl cell remove-replica "$old"
    borgctl cell down
    echo "$before" >"$BORG_CELL/cell.json"
    mv "$BORG_CELL/log/kept" "$BORG_CELL/master$old"
    wait_until 40 settled 5
    no_ghosts
}

# Kill two followers; remove a third SECONDS later.
remove_after() # SECONDS
{
    local leader pid id count=0 third="" pids=()
    leader="$(leader_id)"
    for id in $(live_replica_ids); do
        [[ "$id" != "$leader" ]] || continue
        ((count++)) || true
        if ((count <= 2)); then
            pids+=("$(pid_of_replica "$id")")
        else
            third="$id"
        fi
    done
    kill -KILL "${pids[@]}"
    sleep "$1"
    expect_exit 1 borgctl cell remove-replica "$third"
    expect_text "without replica $third 2 of 4 replicas would answer, 3 are needed"
    # The cell continues with all five.
    submit "after-$third-${1/./-}" 200 1 10m 'exit 0'
    sql_is 5 "SELECT count(*) FROM replicas WHERE state = 'member'"
    cell_up
    wait_until 20 replicas_agree 5
}

@test "a removal a moment after two deaths is refused" {
    local seconds
    for seconds in 0 0.3 0.6 0.8; do
        remove_after "$seconds"
    done
}

@test "a replica that waits for admission refuses to transfer leadership, and continues" {
    local id
    cell_file="$SPECS/alone.json"
    mkdir -p "$SPECS/alone"
    borgctl cell down
    id="$(jq -r '.replicas[0].id' "$BORG_CELL/cell.json")"
    cp "$BORG_CELL/cell.json" "$cell_file"
    jq --arg ca "$BORG_CELL/pki/ca.crt" '.ca = $ca' "$BORG_CELL/cell.json" >"$cell_file"
    "$BUILD/borgmaster" --cell "$cell_file" --id "$id" --dir "$SPECS/alone" \
        --cert "$BORG_CELL/pki/master-$id.crt" --key "$BORG_CELL/pki/master-$id.key" \
        >"$SPECS/alone.log" 2>&1 3>&- 4>&- &
    local pid=$!
    wait_until 10 grep -q master.started "$SPECS/alone.log"
    expect_exit 3 borgctl --timeout 2 cell transfer-leader
    expect_text "replica $id is new and waits until the others let it join"
    kill -0 "$pid"
    kill -TERM "$pid"
    wait "$pid"
    cell_up
    wait_until 20 replicas_agree 5
}
