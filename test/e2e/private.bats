#!/usr/bin/env bats
# private.bats - nobody else reads a user's private data, in the cell or in its files; and endless
# statements delay nobody else.
load lib.bash

setup_file()
{
    cell_up --replicas 1 --borglets 1 --user ada
    cell_up --replicas 1 --borglets 1 --user bob
    wait_sql 20 1 "SELECT count(*) FROM machines WHERE state = 'up'"
    borgctl --user ada submit "$(spec shop 200 1 50m 'exec sleep 1000 # --key=opensesame' \
        '.task.env = {DB_PASSWORD: "hunter2-of-ada"}')"
    wait_until 20 job_runs shop 1
}

teardown_file()
{
    cell_away
}

@test "the user of a job and the operator can read its command and environment" {
    local user
    for user in ada root; do
        borgctl --user "$user" job shop | grep -F opensesame
        borgctl --user "$user" query 'SELECT spec FROM job_specs' |
            grep -F "$(printf hunter2-of-ada | od -An -tx1 | tr -d ' \n')"
    done
}

@test "other users see the job without its private columns" {
    expect_exit 0 borgctl --user bob job shop
    expect_text '^command: +private to user ada$'
    expect_text '^shop/0 .*running'
    ! grep -F opensesame <<<"$output" || return 1
    same "in JSON" null "$(borgctl --user bob -o json job shop | jq .command)"
    expect_exit 0 borgctl --user bob jobs
    expect_text '^shop '
    same "query" "shop null null" "$(borgctl --user bob -o json query \
        'SELECT job, l.command, spec FROM job_list l JOIN job_specs USING (job_id)' |
        jq -r '.[] | "\(.job) \(.command) \(.spec)"')"
    expect_exit 1 borgctl --user bob query 'SELECT spec FROM job_specs_private_rows'
    expect_exit 1 borgctl --user bob query 'SELECT command FROM main.job_list'
    ! borgctl --user bob -o json query 'SELECT * FROM main.job_specs' | grep -F opensesame ||
        return 1
}

@test "diff, which reads the spec, is for the same users" {
    expect_exit 0 borgctl --user ada diff "$SPECS/shop.json"
    expect_exit 0 borgctl --user root diff "$SPECS/shop.json"
    expect_exit 1 borgctl --user bob diff "$SPECS/shop.json"
    expect_text "job shop is user ada's"
}

@test "a checkpoint, which has everything in it, is for the operator" {
    expect_exit 1 borgctl --user bob cell checkpoint "$SPECS/bob.db"
    expect_text 'user "bob" may not take a checkpoint'
    [[ ! -e "$SPECS/bob.db" ]]
    (umask 0 && borgctl --user root cell checkpoint "$SPECS/root.db")
    same "mode" 600 "$(stat -c %a "$SPECS/root.db")"
}

# Print files and directories of masters, and their logs, that others may open.
open_to_others()
{
    find "$BORG_CELL"/master[0-9]* "$BORG_CELL" -maxdepth 3 -path "*master*" \
        -perm /077 ! -type l ! -type s ! -name "*.crt" ! -name "*.pid" 2>/dev/null
}

@test "files of masters are private, also those from earlier versions" {
    same "open files" "" "$(open_to_others)"
    borgctl cell down --dir "$BORG_CELL"
    find "$BORG_CELL"/master1 -type f -exec chmod 644 {} +
    find "$BORG_CELL"/master1 -type d -exec chmod 755 {} +
    (umask 0 && cell_up --replicas 1 --borglets 1 --user ada)
    wait_until 20 job_runs shop 1
    same "open files" "" "$(open_to_others)"
    same "database" 600 "$(stat -c %a "$BORG_CELL/master1/cell.db")"
    same "its log" 600 "$(stat -c %a "$BORG_CELL/master1/cell.db-wal")"
}

@test "endless statements delay nobody else" {
    local i begun pid pids=() left=0
    for ((i = 0; i < 20; i++)); do
        "$BUILD/borgctl" --user bob query "SELECT instr(hex(zeroblob(2000000)),
            hex(zeroblob(1000000)) || '1')" >"$SPECS/bob.$i" 2>&1 3>&- 4>&- &
        pids+=($!)
    done
    two_run() { (($(pgrep -c -f "^borg-reader $BORG_CELL/master1") >= 2)); }
    wait_until 20 two_run
    for ((i = 0; i < 5; i++)); do
        begun="$(now_ms)"
        borgctl --user ada jobs | grep '^shop '
        echo "# figure jobs beside 20 statements of another user: $(($(now_ms) - begun)) ms" >&3
    done
    for pid in "${pids[@]}"; do
        if kill "$pid" 2>/dev/null; then
            left=$((left + 1))
        fi
    done
    ((left >= 10)) # ada did not wait for them
    wait
}
