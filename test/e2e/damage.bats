#!/usr/bin/env bats
# damage.bats - bytes change on the disk of a master: it reports this and rebuilds its database, or
# stops if its log has lost acknowledged entries.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 1
}

teardown_file()
{
    cell_away
}

# Print the follower that the tests damage, always the same one.
victim()
{
    if [[ ! -s "$SPECS/victim" ]]; then
        echo $(($(leader_id) % 3 + 1)) >"$SPECS/victim"
    fi
    cat "$SPECS/victim"
}

victim_log()
{
    echo "$BORG_CELL/log/master$(victim).log"
}

victim_stop()
{
    local pid
    pid="$(pid_of_replica "$(victim)")"
    kill -TERM "$pid" # a clean stop: everything is in cell.db then
    wait_until 5 is_gone "$pid"
}

# Change a byte in the middle of the first page of a table or index.
page_damage() # NAME
{
    local db page
    db="$BORG_CELL/master$(victim)/cell.db"
    page="$(sqlite3 -readonly "$db" "SELECT rootpage FROM sqlite_schema WHERE name = '$1'")"
    printf '\x99' | dd of="$db" bs=1 seek=$(((page - 1) * 4096 + 3000)) conv=notrunc status=none
}

corrupt_files()
{
    find "$BORG_CELL/master$(victim)" -name 'cell.db.corrupt-*[0-9]' | wc -l
}

# Run a query that only the victim can answer.
ask_victim()
{
    jq --argjson id "$(victim)" '.replicas |= map(select(.id == $id))' "$BORG_CELL/cell.json" \
        >"$BORG_CELL/only.json"
    borgctl --cell "$BORG_CELL/only.json" --timeout 20 -o json query "$1"
}

@test "jobs fill the database" {
    local i
    wait_until 20 replicas_agree 3
    submit web 200 2 50m 'exec sleep 1000'
    wait_until 20 job_runs web 2
    for ((i = 0; i < 20; i++)); do
        submit "more$i" 50 3 1000 'exit 0'
    done
    wait_until 10 replicas_agree 3
    ask 'SELECT * FROM event_list' >"$SPECS/events"
}

@test "if a row of tasks is damaged, the next start sets the file aside and fills a new one" {
    victim_stop
    cp -r "$BORG_CELL/master$(victim)/raft" "$BORG_CELL/raft.old"
    page_damage tasks
    cell_up
    wait_until 20 replicas_agree 3
    grep -q 'store.damaged page=' "$(victim_log)"
    grep -q 'store.corrupt .*set aside and begun anew' "$(victim_log)"
    same "set aside" 1 "$(corrupt_files)"
}

@test "if a query finds damage at run time, it is answered from a rebuilt file" {
    local pid
    victim_stop
    cell_up
    wait_until 20 replicas_agree 3
    page_damage events
    pid="$(pid_of_replica "$(victim)")"
    same "events" "$(cat "$SPECS/events")" \
        "$(ask_victim 'SELECT * FROM event_list' | jq -r '.[] | [.[]] | @tsv')"
    grep -q 'master.restarted reason=' "$(victim_log)"
    same "set aside" 2 "$(corrupt_files)"
    same "its process" "$pid" "$(pid_of_replica "$(victim)")"
    wait_until 20 replicas_agree 3
    wait_until 20 job_runs web 2
}

@test "if a log from a backup lacks acknowledged entries, the master stops with the reason" {
    submit newer 50 1 1000 'exit 0'
    wait_until 10 replicas_agree 3
    victim_stop
    rm -r "$BORG_CELL/master$(victim)/raft"
    mv "$BORG_CELL/raft.old" "$BORG_CELL/master$(victim)/raft"
    borgctl cell up --dir "$BORG_CELL" || true # it may succeed before the master ends
    says_why()
    {
        grep -q 'master.failed .*but entry [0-9]* was on its disk: it has lost entries' \
            "$(victim_log)"
    }
    wait_until 10 says_why
    wait_until 10 is_gone "$(cut -d' ' -f1 "$BORG_CELL/run/master$(victim).pid")"
    expect_exit 6 borgctl cell status
    expect_text "replica $(victim) .* has ended: the raft log .*it has lost entries"
    wait_until 10 job_runs web 2
}
