#!/usr/bin/env bats
# versions.bats - two releases in one cell under load: masters, borglets and borgctl of each, forth
# and back. The older one is the same source without the fields, commands and columns of the latest
# format (build/older).
bats_require_minimum_version 1.5.0
load lib.bash

RELEASE="$BUILD"
WRITERS=2

setup_file()
{
    BUILD="$BATS_FILE_TMPDIR/bin"
    mkdir -p "$BUILD"
    install_release "$RELEASE/older"
    cell_up --replicas 3 --borglets 2
    wait_until 20 replicas_agree 3
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
}

setup()
{
    BUILD="$BATS_FILE_TMPDIR/bin"
}

teardown_file()
{
    BUILD="$BATS_FILE_TMPDIR/bin"
    cell_away
}

install_release() # DIRECTORY: its programs; running ones keep their files
{
    local program
    for program in borgmaster borglet borgctl borg-shim; do
        cp "$1/$program" "$BUILD/$program.new"
        mv "$BUILD/$program.new" "$BUILD/$program"
    done
}

newer()
{
    "$RELEASE/borgctl" "$@" </dev/null 3>&- 4>&- 5>&- 6>&-
}

older()
{
    "$RELEASE/older/borgctl" "$@" </dev/null 3>&- 4>&- 5>&- 6>&-
}

end_program() # PID
{
    kill -TERM "$1"
    wait_until 20 is_gone "$1"
}

more_writes() # COUNT
{
    wait_until 30 writes_reach $(($(cat "$SPECS"/acks.* | wc -l) + $1))
}

formats_known() # "1 2 2": of replicas 1 to 3
{
    local known
    known="$(status_json | jq -r '[.replicas | sort_by(.id)[] | .format_known] | join(" ")')"
    [[ "$known" == "$1" ]]
}

format_is() # NUMBER, of the cell as all replicas know it
{
    [[ "$(status_json | jq -r '[.replicas[].format] | unique | join(" ")')" == "$1" ]]
}

labelled() # NAME: a spec with a label
{
    spec "$1" 200 1 10m 'exec sleep 1000' '.labels = {team: "search"}'
}

@test "masters of two releases agree, under load" {
    local s
    submit steady 200 4 50m 'exec sleep 1000' 3>&- 4>&-
    wait_until 20 job_runs steady 4
    running_tasks >"$SPECS/before"
    for ((s = 0; s < WRITERS; s++)); do
        write_on "$s" 3>&- 4>&- &
    done
    more_writes 4
    format_is 1
    install_release "$RELEASE"
    end_program "$(pid_of_replica "$(leader_id)")" # the leader goes first
    cell_up
    wait_until 20 replicas_agree 3
    status_json | jq -e '[.replicas[].format_known] | sort == [1, 1, 2]'
    more_writes 4
}

@test "what only the later format can carry is refused while a master does not know it" {
    run -1 newer submit "$(labelled named)"
    [[ "$output" == *"only format 2 can carry"* || "$output" == *"later release"* ]]
    run -1 newer job restart steady
    [[ "$output" == *"only format 2 can carry"* || "$output" == *"later release"* ]]
    run newer --user root cell upgrade # an older leader says that there is nothing later
    [[ "$output" == *"runs a release that knows formats up to 1"* ||
        "$output" == *"uses format 1 already"* ]]
    newer submit "$(spec plain 200 1 10m 'exec sleep 1000')"
    older submit "$(spec older 200 1 10m 'exec sleep 1000')"
    wait_until 20 job_runs plain 1
    wait_until 20 job_runs older 1
    older cell status -o json | jq -e '.replicas | length == 3'
    format_is 1
}

@test "a borglet of the later release serves masters of both, and one of the older release too" {
    local pid
    pid="$(pid_of_borglet m1)"
    end_program "$pid"
    cell_up
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
    submit both 200 4 10m 'exec sleep 1000' '.task.spread = [{by: "machine", max: 2}]' 3>&- 4>&-
    wait_until 20 job_runs both 4
    still_there "$(cat "$SPECS/before")"
}

@test "all masters are restarted with the later release and back again, and no write is lost" {
    newer cell restart
    formats_known "2 2 2"
    wait_until 20 replicas_agree 3
    format_is 1
    more_writes 4
    expect_exit 0 borgctl cell status
    expect_text 'it uses format 1, and all masters know format 2: `borgctl cell upgrade`'
    install_release "$RELEASE/older"
    older cell restart
    formats_known "1 1 1"
    wait_until 20 replicas_agree 3
    more_writes 4
    install_release "$RELEASE"
    newer cell restart
    wait_until 20 replicas_agree 3
    more_writes 4
    still_there "$(cat "$SPECS/before")"
}

@test "after an upgrade the cell uses the later format" {
    newer --user root cell upgrade
    wait_until 10 format_is 2
    newer submit "$(labelled named)"
    wait_until 20 job_runs named 1
    same "labels" search "$(newer -o json job named | jq -r .labels.team)"
    same "the spec as JSON" "exec sleep 1000" "$(ask "SELECT json_extract(spec_json,
        '\$.task.command[2]') FROM job_specs JOIN jobs ON id = job_id WHERE name = 'named'")"
    newer job restart steady --batch 1
    wait_sql 40 4 "SELECT count(*) FROM tasks JOIN jobs ON jobs.id = job_id
        WHERE name = 'steady' AND tasks.attempt = 2 AND tasks.state = 'running'"
    same "most tasks of steady that were down at once" 1 "$(ask "SELECT max(down) FROM (
        SELECT sum(CASE kind WHEN 'evicting' THEN 1 WHEN 'running' THEN -1 ELSE 0 END)
            OVER (ORDER BY seq) AS down
        FROM events WHERE job_name = 'steady' AND seq >
            (SELECT max(seq) FROM events WHERE job_name = 'steady' AND kind = 'updated'))")"
    wait_until 20 replicas_agree 3
}

@test "a master of the older release refuses to start from then on, and says what to do" {
    local pid
    pid="$(pid_of_replica 3)"
    end_program "$pid"
    install_release "$RELEASE/older"
    older cell up --dir "$BORG_CELL" || true
    wait_until 20 grep -q 'the cell has agreed on format 2.*start a release that knows format 2' \
        "$BORG_CELL/log/master3.log"
    install_release "$RELEASE"
    cell_up
    wait_until 20 replicas_agree 3
}

@test "every acknowledged job exists once" {
    writers_end
    same "submits that failed" "" "$(awk '$2 != 0' "$SPECS"/acks.*)"
    same "jobs" "$(cut -d' ' -f1 "$SPECS"/acks.* | sort)" \
        "$(ask "SELECT name FROM jobs WHERE name LIKE 'load-%'" | sort)"
    wait_until 20 replicas_agree 3
}
